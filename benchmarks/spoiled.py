"""What bad records cost the good ones, by kind."""

import json
import statistics
from collections.abc import Callable

from benchmarks.contenders.streamfea_queue import contender
from benchmarks.measure import measure
from benchmarks.section import Section
from benchmarks.servers import Servers

_ROUNDS = 3

# How a record is spoiled, and what PostgreSQL or the handler makes of it. The first record is good.
_KINDS: dict[str, Callable[[dict[str, object]], bytes]] = {
    "raises before it writes": lambda _: b"not JSON",
    "NOT NULL, at the flush": lambda event: _json({**event, "name": None}),
    "CHECK, at the flush": lambda event: _json({**event, "amount": -1}),
    "deferred UNIQUE, at the commit": lambda event: _json({**event, "number": 0}),
}
_SHARES = (0.01, 0.1)


def run(servers: Servers, scale: float) -> Section:
    """Measure the clean rate and that of every kind at every share, interleaved; what is counted are good records."""
    clean, variants = measure_spoiled(servers, int(20_000 * scale), _ROUNDS)
    base = statistics.median(clean)
    rows = [[kind, *(_cell(statistics.median(variants[kind, share]), base) for share in _SHARES)] for kind in _KINDS]
    return Section(
        "Bad records",
        f"{int(20_000 * scale):,} records with a CHECK, a NOT NULL and a deferred UNIQUE constraint on their table, "
        "`max_deliveries = 1`, so that every bad record ends in the dead letters. Good records a second as a share of "
        f"the clean run's {base:,.0f}; medians of {_ROUNDS} interleaved runs.",
        ("a bad record", *(f"{share:.0%} bad" for share in _SHARES)),
        rows,
    )


def measure_spoiled(
    servers: Servers, count: int, rounds: int
) -> tuple[list[float], dict[tuple[str, float], list[float]]]:
    """Return the rates of clean runs, and the rates of good records in spoiled ones by kind and share."""
    ours = contender("streamfea, spoiled", "spoiled", table="spoilable")
    clean: list[float] = []
    rates: dict[tuple[str, float], list[float]] = {(kind, share): [] for kind in _KINDS for share in _SHARES}
    for _ in range(rounds):
        clean.append(measure(servers, ours, _records(count)).rate)
        for (kind, share), seen in rates.items():
            every = round(1 / share)
            good = count - count // every
            records = _records(count, every, _KINDS[kind])
            seen.append(measure(servers, ours, records, rows=good).rate * good / count)
    return clean, rates


def _records(count: int, every: int = 0, spoil: Callable[[dict[str, object]], bytes] | None = None) -> list[bytes]:
    records = []
    for number in range(count):
        event: dict[str, object] = {"name": f"event number {number}", "number": number, "amount": 1}
        bad = spoil is not None and number % every == every // 2
        records.append(spoil(event) if bad and spoil is not None else _json(event))
    return records


def _json(event: dict[str, object]) -> bytes:
    return json.dumps(event).encode()


def _cell(rate: float, base: float) -> str:
    return f"{rate / base:.2f} ({rate:,.0f}/s)"
