"""Elements a second from a list to a stream: `streamfea shim`, beside a loop that pops one and adds one."""

import statistics
import subprocess
import sys
import time
from typing import Any

from redis import Redis

from benchmarks.section import Section
from benchmarks.servers import Servers, events

_ROUNDS = 3
_LIST = "legacy"
_STREAM = "{legacy}:stream"


def run(servers: Servers, scale: float) -> Section:
    """Compare the two, interleaved; the slow one on a tenth of the elements."""
    count = int(100_000 * scale)
    environment = {**servers.environment(), "STREAMFEA_QUEUES__EVENTS__LEGACY_LIST": _LIST}
    _empty(servers)
    startup = min(_shim(servers, environment) for _ in range(3))
    loop, shim = [], []
    for _ in range(_ROUNDS):
        loop.append(_loop(servers, count // 10))
        _empty(servers)
        with servers.client() as client:
            _fill(client, count)
        seconds = _shim(servers, environment) - startup
        _check(servers, count)
        shim.append(count / seconds)
    base = statistics.median(loop)
    return Section(
        "From a list to a stream",
        f"{count:,} elements of some 70 bytes, append-only file on; medians of {_ROUNDS} interleaved runs.",
        ("way", "elements/s", "range", "× first"),
        [
            [
                name,
                f"{statistics.median(rates):,.0f}",
                f"{min(rates):,.0f}–{max(rates):,.0f}",
                f"{statistics.median(rates) / base:.1f}",
            ]
            for name, rates in (("BRPOP one, XADD one", loop), ("`streamfea shim`", shim))
        ],
    )


def _shim(servers: Servers, environment: dict[str, str]) -> float:
    """Return the seconds that it takes, start of the interpreter included."""
    command = [sys.executable, "-m", "streamfea", "shim", "events", "--until-empty", "-c", str(servers.config)]
    started = time.perf_counter()
    subprocess.run(command, check=True, env=environment)
    return time.perf_counter() - started


def _loop(servers: Servers, count: int) -> float:
    _empty(servers)
    with servers.client() as client:
        _fill(client, count)
        replies: Any = client
        started = time.perf_counter()
        for _ in range(count):
            _, element = replies.brpop([_LIST])
            replies.xadd(_STREAM, {"record": element})
        seconds = time.perf_counter() - started
    _check(servers, count)
    return count / seconds


def _fill(client: Redis, count: int) -> None:
    elements = events(count)
    for start in range(0, count, 1000):
        client.lpush(_LIST, *elements[start : start + 1000])


def _empty(servers: Servers) -> None:
    with servers.client() as client:
        client.flushall()


def _check(servers: Servers, count: int) -> None:
    with servers.client() as client:
        if client.xlen(_STREAM) != count or client.exists(_LIST):
            raise AssertionError(f"{client.xlen(_STREAM)} entries, not {count}")
