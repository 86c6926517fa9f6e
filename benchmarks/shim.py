"""Elements a second from a list to a stream: `streamfea shim`, beside a loop that pops one and adds one."""

import os
import statistics
import subprocess
import sys
import time
from typing import Any

from rich.console import Console

from benchmarks.servers import Servers, fill_list

_ROUNDS = 3
_STREAM = "{legacy}:stream"


def run(servers: Servers, console: Console, quick: bool) -> None:
    """Compare the two, interleaved; the slow one on a tenth of the elements."""
    count = 20_000 if quick else 400_000
    environment = {**os.environ, "STREAMFEA_QUEUES__EVENTS__LEGACY_LIST": "legacy"}
    _empty(servers)
    startup = min(_shim(servers, environment) for _ in range(3))
    loop, shim = [], []
    for _ in range(_ROUNDS):
        loop.append(_loop(servers, count // 10))
        _empty(servers)
        with servers.client() as client:
            fill_list(client, count)
        seconds = _shim(servers, environment) - startup
        _check(servers, count)
        shim.append(count / seconds)
    console.print(f"\nshim: {count:,} elements of some 70 bytes from a list to a stream, append-only file on")
    base = statistics.median(loop)
    for name, rates in (("BRPOP one, XADD one", loop), ("streamfea shim", shim)):
        median = statistics.median(rates)
        spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
        console.print(f"  {name:28} {median:>9,.0f} elements/s ({spread}), {median / base:.1f} times the first")


def _shim(servers: Servers, environment: dict[str, str]) -> float:
    """Return the seconds that it takes, start of the interpreter included."""
    command = [sys.executable, "-m", "streamfea", "shim", "--until-empty", "-c", str(servers.config())]
    started = time.perf_counter()
    subprocess.run(command, check=True, env=environment)
    return time.perf_counter() - started


def _loop(servers: Servers, count: int) -> float:
    _empty(servers)
    with servers.client() as client:
        fill_list(client, count)
        replies: Any = client
        started = time.perf_counter()
        for _ in range(count):
            _, element = replies.brpop(["legacy"])
            replies.xadd(_STREAM, {"record": element})
        seconds = time.perf_counter() - started
    _check(servers, count)
    return count / seconds


def _empty(servers: Servers) -> None:
    with servers.client() as client:
        client.flushall()


def _check(servers: Servers, count: int) -> None:
    with servers.client() as client:
        if client.xlen(_STREAM) != count or client.exists("legacy"):
            raise AssertionError(f"{client.xlen(_STREAM)} entries, not {count}")
