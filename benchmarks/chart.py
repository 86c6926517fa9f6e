"""Points on a logarithmic axis, in SVG; drawn by hand because nothing else here needs a library for it.

Not bars: a logarithmic axis has no zero that they could begin at, so that their length would say nothing.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

_LABEL, _PLOT, _VALUE = 290, 420, 90
_WIDTH = _LABEL + _PLOT + _VALUE
_ROW, _RADIUS = 28, 5.5
_TOP, _BOTTOM = 44, 34
_OURS, _OTHERS, _INK, _GRID = "#0b7285", "#adb5bd", "#212529", "#e9ecef"


@dataclass(frozen=True, slots=True)
class Point:
    """A value with its range, and whether it is streamfea's."""

    label: str
    value: float
    lowest: float
    highest: float
    ours: bool


def point_chart(title: str, points: Sequence[Point]) -> str:
    """Return the picture; the axis goes from the power of ten below the lowest value to that above the highest."""
    first = math.floor(math.log10(min(point.lowest for point in points)))
    last = math.ceil(math.log10(max(point.highest for point in points)))

    def x(value: float) -> float:
        return _LABEL + _PLOT * (math.log10(value) - first) / (last - first)

    height = _TOP + _ROW * len(points) + _BOTTOM
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
    for number, point in enumerate(points):
        parts += _drawn(point, _TOP + _ROW * (number + 0.5), x)
    parts.append(f'<text x="{_LABEL}" y="{height - 4}" font-size="11">logarithmic; the line is the range</text>')
    return "\n".join([*parts, "</g></svg>"]) + "\n"


def _drawn(point: Point, y: float, x: Callable[[float], float]) -> list[str]:
    colour = _OURS if point.ours else _OTHERS
    weight = ' font-weight="bold"' if point.ours else ""
    return [
        f'<line x1="{_LABEL}" y1="{y}" x2="{_LABEL + _PLOT}" y2="{y}" stroke="{_GRID}"/>',
        f'<text x="{_LABEL - 10}" y="{y + 4.5}" text-anchor="end"{weight}>{escape(point.label)}</text>',
        f'<line x1="{x(point.lowest):.1f}" y1="{y}" x2="{x(point.highest):.1f}" y2="{y}" stroke="{_INK}"/>',
        f'<circle cx="{x(point.value):.1f}" cy="{y}" r="{_RADIUS}" fill="{colour}"/>',
        f'<text x="{max(x(point.value), x(point.highest)) + 10:.1f}" y="{y + 4.5}"{weight}>{point.value:,.0f}</text>',
    ]
