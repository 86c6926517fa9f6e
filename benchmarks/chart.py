"""A bar chart in SVG, with a logarithmic axis; it is drawn by hand because nothing else here needs a library for it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

_LABEL, _PLOT, _VALUE = 290, 420, 90
_WIDTH = _LABEL + _PLOT + _VALUE
_ROW, _BAR = 28, 16
_TOP, _BOTTOM = 44, 34
_OURS, _OTHERS, _INK, _GRID = "#0b7285", "#adb5bd", "#212529", "#e9ecef"


@dataclass(frozen=True, slots=True)
class Bar:
    """A value with its range, and whether it is streamfea's."""

    label: str
    value: float
    lowest: float
    highest: float
    ours: bool


def bar_chart(title: str, bars: Sequence[Bar]) -> str:
    """Return the picture; the axis goes from the power of ten below the lowest value to that above the highest."""
    first = math.floor(math.log10(min(bar.lowest for bar in bars)))
    last = math.ceil(math.log10(max(bar.highest for bar in bars)))

    def x(value: float) -> float:
        return _LABEL + _PLOT * (math.log10(value) - first) / (last - first)

    height = _TOP + _ROW * len(bars) + _BOTTOM
    bottom = height - _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">',
        f'<g font-family="sans-serif" font-size="13" fill="{_INK}">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="12" y="26" font-size="16" font-weight="bold">{escape(title)}</text>',
    ]
    for power in range(first, last + 1):
        tick = x(10**power)
        parts += [
            f'<line x1="{tick:.1f}" y1="{_TOP}" x2="{tick:.1f}" y2="{bottom}" stroke="{_GRID}"/>',
            f'<text x="{tick:.1f}" y="{bottom + 18}" text-anchor="middle" font-size="11">{10**power:,}</text>',
        ]
    for number, bar in enumerate(bars):
        parts += _drawn(bar, _TOP + _ROW * number + (_ROW - _BAR) / 2, x)
    parts.append(f'<text x="{_LABEL}" y="{height - 4}" font-size="11">logarithmic; the thin line is the range</text>')
    return "\n".join([*parts, "</g></svg>"]) + "\n"


def _drawn(bar: Bar, top: float, x: Callable[[float], float]) -> list[str]:
    middle = top + _BAR / 2
    colour = _OURS if bar.ours else _OTHERS
    weight = ' font-weight="bold"' if bar.ours else ""
    return [
        f'<text x="{_LABEL - 10}" y="{middle + 4.5}" text-anchor="end"{weight}>{escape(bar.label)}</text>',
        f'<rect x="{_LABEL}" y="{top}" width="{x(bar.value) - _LABEL:.1f}" height="{_BAR}" rx="2" fill="{colour}"/>',
        f'<line x1="{x(bar.lowest):.1f}" y1="{middle}" x2="{x(bar.highest):.1f}" y2="{middle}" stroke="{_INK}"/>',
        f'<text x="{max(x(bar.value), x(bar.highest)) + 8:.1f}" y="{middle + 4.5}"{weight}>{bar.value:,.0f}</text>',
    ]
