"""What a worker costs that has nothing to do, and how soon one that is started has committed its first record."""

import statistics
import subprocess
import sys
import time
from typing import Any

from redis import Redis

from benchmarks.contenders.streamfea_queue import contender
from benchmarks.measure import cpu_seconds, started, wait_until
from benchmarks.section import Section
from benchmarks.servers import Servers, events

_SETTLE_SECONDS = 3
_ROUNDS = 5


def run(servers: Servers, scale: float) -> Section:
    """Watch an idle worker for a while, then start commands again and again."""
    seconds = max(5.0, 15 * scale)
    share, commands = _idle(servers, seconds)
    helps = [_timed([sys.executable, "-m", "streamfea", "--help"], servers) for _ in range(_ROUNDS)]
    firsts = [_first_commit(servers) for _ in range(_ROUNDS)]
    return Section(
        "Idle, and at the start",
        f"A worker and its supervisor on an empty queue for {seconds:.0f} s; starts are medians of {_ROUNDS}, the "
        "lowest and the highest in brackets.",
        ("what", "measured"),
        [
            ["CPU of an idle worker, supervisor included", f"{share:.2%} of a core"],
            ["Redis commands of an idle worker", f"{commands:.1f} a second"],
            ["`streamfea --help`", _spread(helps)],
            ["`streamfea consume`, to the first commit", _spread(firsts)],
        ],
    )


def _idle(servers: Servers, seconds: float) -> tuple[float, float]:
    """Return the share of a core, and commands a second."""
    servers.empty()
    ours = contender("streamfea, idle", "events")
    with servers.client() as client, started(servers, ours) as process:
        wait_until(lambda: bool(client.exists("events")), "the group")
        time.sleep(_SETTLE_SECONDS)
        cpu = cpu_seconds(process.pid)
        commands = _commands_sent(client, seconds)
        return (cpu_seconds(process.pid) - cpu) / seconds, commands / seconds


def _commands_sent(client: Redis, seconds: float) -> int:
    """Return how many commands others send in that time; what scripts call is no command of its own."""
    count = 0
    deadline = time.monotonic() + seconds
    untyped: Any = client
    with untyped.monitor() as monitor:
        while time.monotonic() < deadline:
            count += monitor.next_command()["client_type"] != "lua"
    return count


def _timed(command: list[str], servers: Servers) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=servers.environment())
    return time.perf_counter() - began


def _first_commit(servers: Servers) -> float:
    servers.empty()
    ours = contender("streamfea, first commit", "events")
    with servers.client() as client:
        ours.fill(client, events(1))
        began = time.perf_counter()
        with started(servers, ours):
            wait_until(lambda: ours.acknowledged(client) == 1, ours.name)
            seconds = time.perf_counter() - began
    if servers.rows() != 1:
        raise AssertionError(f"{servers.rows()} rows, not 1")
    return seconds


def _spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f}–{max(seconds):.2f})"
