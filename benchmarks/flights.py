"""Real data: the flights of `handlers_example`, in streamfea and in Azafea's loop."""

import statistics

from benchmarks.contenders.azafea_loop import contender as loop
from benchmarks.contenders.streamfea_queue import contender as streamfea
from benchmarks.measure import measure
from benchmarks.section import Section
from benchmarks.servers import Servers, flights

_ROUNDS = 3
# What the handler does, its module, its queue, its table, and how many records streamfea gets.
_HANDLERS = (
    ("19 columns, a foreign key and a get-or-create", "handlers_example.flights", "flights", "flight", 19_000),
    (
        "19 columns, a foreign key and a query for each record",
        "benchmarks.handlers.airlines",
        "airlines",
        "airline_flight",
        6_000,
    ),
)


def run(servers: Servers, scale: float) -> Section:
    """Measure each handler both ways, interleaved; the loop on a few hundred records."""
    few = int(600 * scale)
    rows = []
    for title, handler, queue, table, many in _HANDLERS:
        one_by_one, together = loop(title, handler, table), streamfea(title, queue, table=table)
        slow, fast = [], []
        for _ in range(_ROUNDS):
            slow.append(measure(servers, one_by_one, flights(few)).rate)
            fast.append(measure(servers, together, flights(int(many * scale))).rate)
        loop_rate, rate = statistics.median(slow), statistics.median(fast)
        rows.append([title, f"{loop_rate:,.0f}", f"{rate:,.0f}", f"{rate / loop_rate:.1f}"])
    return Section(
        "Real data",
        "Flights of 19 fields with a secondary index, by the same handler in both. A query for "
        f"each record, which no commit in groups takes away. Medians of {_ROUNDS} interleaved runs.",
        ("handler", "Azafea's loop, records/s", "streamfea, records/s", "×"),
        rows,
    )
