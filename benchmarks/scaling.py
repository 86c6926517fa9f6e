"""Records a second with one, two and three workers on one queue."""

import statistics

from rich.console import Console

from benchmarks.servers import Servers, fill_stream

_ROUNDS = 3


def run(servers: Servers, console: Console, quick: bool) -> None:
    """Measure, interleaved, and print rates and ratios."""
    count = 10_000 if quick else 100_000
    rates: dict[int, list[float]] = {1: [], 2: [], 3: []}
    servers.empty()
    startup = {workers: min(servers.consume(workers) for _ in range(2)) for workers in rates}
    for _ in range(_ROUNDS):
        for workers, seen in rates.items():
            servers.empty()
            with servers.client() as client:
                fill_stream(client, count)
            seen.append(count / (servers.consume(workers) - startup[workers]))
            if servers.rows() != count:
                raise AssertionError(f"{servers.rows()} rows, not {count}")
    base = statistics.median(rates[1])
    console.print(
        f"\nscaling: {count:,} records, workers of one `consume`; servers and workers share this machine's cores"
    )
    for workers, seen in rates.items():
        median = statistics.median(seen)
        console.print(f"  {workers} workers {median:>9,.0f} records/s, {median / base:.2f} times one")
