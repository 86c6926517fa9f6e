"""Slow handlers: how fairly two workers share the records, and how soon a fresh record is committed."""

import json
import statistics
import time

from redis import Redis

from benchmarks.contenders import Contender
from benchmarks.contenders.streamfea_queue import contender
from benchmarks.measure import started, wait_until
from benchmarks.section import Section
from benchmarks.servers import Servers

_WORKERS = 2
_STREAM, _GROUP = "slow", "streamfea"
# How long a record takes, in milliseconds, and how many there are.
_CASES = ((1, 2_000), (20, 150), (1_000, 6))
_FRESH = 40
_FRESH_EVERY_SECONDS = 0.05


def run(servers: Servers, scale: float) -> Section:
    """Give two workers a backlog, and then one record at a time."""
    rows = []
    for milliseconds, many in _CASES:
        count = max(2 * _WORKERS, int(many * min(1.0, scale)))
        seconds, latencies = _measure(servers, milliseconds, count)
        ideal = count * milliseconds / 1000 / _WORKERS
        late = statistics.quantiles(latencies, n=20)
        rows.append(
            [
                f"{milliseconds:,} ms",
                f"{count:,}",
                f"{seconds:.2f} s",
                f"{ideal:.2f} s",
                f"{statistics.median(latencies):.0f} ms",
                f"{late[-1]:.0f} ms",
            ]
        )
    return Section(
        "Slow handlers",
        "Two workers and a handler that sleeps. First a backlog, and what two workers would need if neither ever "
        "waited while the other had records left; then single records into an empty queue, from XADD to the "
        "acknowledgement after the commit, the handler's own time included.",
        ("a record takes", "backlog", "done in", "ideal", "fresh record, median", "95th percentile"),
        rows,
    )


def _measure(servers: Servers, milliseconds: int, count: int) -> tuple[float, list[float]]:
    servers.empty()
    ours = contender(f"slow handler, {milliseconds} ms", "slow", workers=_WORKERS)
    with servers.client() as client:
        ours.fill(client, [])
        with started(servers, ours):
            wait_until(lambda: _members(client) == _WORKERS, "two workers")
            began = time.perf_counter()
            _push(client, milliseconds, count)
            wait_until(lambda: ours.acknowledged(client) == count, ours.name)
            seconds = time.perf_counter() - began
            latencies = _latencies(client, ours, milliseconds, count)
            done = count + len(latencies)
            wait_until(lambda: servers.rows() == done, "all rows", seconds=10)
    return seconds, latencies


def _latencies(client: Redis, ours: Contender, milliseconds: int, done: int) -> list[float]:
    """Return how many milliseconds single records take."""
    latencies = []
    for number in range(1, (3 if milliseconds >= 1000 else _FRESH) + 1):
        began = time.perf_counter()
        _push(client, milliseconds, 1)
        expected = done + number
        wait_until(lambda: ours.acknowledged(client) == expected, ours.name, every_seconds=0.0005)  # noqa: B023 - called at once
        latencies.append((time.perf_counter() - began) * 1000)
        time.sleep(_FRESH_EVERY_SECONDS)
    return latencies


def _push(client: Redis, milliseconds: int, count: int) -> None:
    event = {"name": "slow", "timestamp": "2026-01-31T12:34:56.789Z", "milliseconds": milliseconds}
    with client.pipeline(transaction=False) as pipeline:
        for _ in range(count):
            pipeline.xadd(_STREAM, {"record": json.dumps(event)})
        pipeline.execute()


def _members(client: Redis) -> int:
    return len(client.xinfo_consumers(_STREAM, _GROUP))
