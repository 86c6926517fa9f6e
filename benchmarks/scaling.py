"""Records a second with one, two and three workers on one queue."""

import statistics

from benchmarks.contenders.streamfea_queue import contender
from benchmarks.measure import measure
from benchmarks.section import Section
from benchmarks.servers import Servers, events

_ROUNDS = 3


def run(servers: Servers, scale: float) -> Section:
    """Measure, interleaved."""
    count = int(60_000 * scale)
    rates: dict[int, list[float]] = {1: [], 2: [], 3: []}
    for _ in range(_ROUNDS):
        for workers, seen in rates.items():
            ours = contender(f"{workers} workers", "events", workers=workers)
            seen.append(measure(servers, ours, events(count)).rate)
    base = statistics.median(rates[1])
    return Section(
        "More workers",
        f"{count:,} records, workers of one `consume`; they share the machine's cores with both servers. Medians of "
        f"{_ROUNDS} interleaved runs.",
        ("workers", "records/s", "× one"),
        [
            [str(workers), f"{statistics.median(seen):,.0f}", f"{statistics.median(seen) / base:.2f}"]
            for workers, seen in rates.items()
        ],
    )
