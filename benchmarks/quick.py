"""Has it become slower? Ratios to the floor in one interleaved run, each with a line that it must not fall under.

The lines are at half of what a quiet machine measures, which no noise has reached so far.
"""

import statistics
import sys

from rich.console import Console

from benchmarks.contenders import Contender, load
from benchmarks.measure import measure
from benchmarks.section import Section
from benchmarks.servers import Servers, events

_ROUNDS = 3
_COUNT = 20_000
_FLOOR = "copy_loop"
# The contender, every how many records one is spoiled, and the share of the floor that is asked for.
_GUARDED: dict[str, tuple[str, int, float]] = {
    "process()": ("streamfea_process", 0, 0.32),
    "process(), 1 % violate NOT NULL": ("streamfea_process", 100, 0.22),
    "process(), exactly-once": ("streamfea_once", 0, 0.25),
    "process_batch() with COPY": ("streamfea_batch", 0, 0.48),
}


def run(servers: Servers, console: Console) -> None:
    """Measure and print; exit with 1 when a ratio is under its line."""
    floor: list[float] = []
    rates: dict[str, list[float]] = {name: [] for name in _GUARDED}
    for _ in range(_ROUNDS):
        floor.append(_rate(servers, load(_FLOOR), 0))
        for name, (contender, spoiled_every, _) in _GUARDED.items():
            rates[name].append(_rate(servers, load(contender), spoiled_every))
    # Each to the floor of its own round: the machine's mood changes between rounds.
    ratios = {
        name: statistics.median(rate / base for rate, base in zip(seen, floor, strict=True))
        for name, seen in rates.items()
    }
    _section(ratios, statistics.median(floor)).print(console)
    if any(ratios[name] < line for name, (_, _, line) in _GUARDED.items()):
        sys.exit(1)


def _rate(servers: Servers, contender: Contender, spoiled_every: int) -> float:
    rows = _COUNT - (_COUNT // spoiled_every if spoiled_every else 0)
    return measure(servers, contender, events(_COUNT, spoiled_every), rows=rows).rate


def _section(ratios: dict[str, float], floor: float) -> Section:
    return Section(
        "Against the floor",
        f"Share of what a bare COPY loop does, here {floor:,.0f} records/s; median of {_ROUNDS} interleaved rounds.",
        ("way", "share", "line", ""),
        [
            [name, f"{ratios[name]:.2f}", f"{line:.2f}", "ok" if ratios[name] >= line else "TOO SLOW"]
            for name, (_, _, line) in _GUARDED.items()
        ],
    )
