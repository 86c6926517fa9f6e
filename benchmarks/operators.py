"""What an operator waits for, and what it takes, when much is stuck: the commands on a large stream, and replaying."""

import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import psutil
from redis import Redis

from benchmarks.contenders.streamfea_queue import contender
from benchmarks.measure import cpu_seconds, peak_mib, started, wait_until
from benchmarks.section import Section
from benchmarks.servers import Servers
from streamfea.core.group_ref import GroupRef
from streamfea.streams.connection.keys import dead_letters_key

_ENTRIES = 5_000_000
_PENDING = 100_000
_LETTERS = 100_000
_AT_ONCE = 10_000
_QUEUE = "spoiled"
_GROUP = "streamfea"
# `status` and `pending` exit with 1 when a threshold is passed.
_FINE = (0, 1)
_LOOK_EVERY_SECONDS = 0.02

_COPIES = "for i = 1, tonumber(ARGV[1]) do redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2)) end"


def run(servers: Servers, scale: float) -> Section:
    """Time commands on a stream of millions with many pending, then the replay of as many dead letters."""
    servers.empty()
    entries, pending, letters = (int(count * scale) for count in (_ENTRIES, _PENDING, _LETTERS))
    with servers.client() as client:
        letter = _real_letter(servers, client)
        _add_copies(client, _QUEUE, {"record": "{}"}, entries)
        _leave_pending(client, pending)
        rows = [
            [f"`{' '.join(command)}`", *_timed(servers, *command)]
            for command in (("status",), ("pending",), ("consumers", "list"), ("retry", _QUEUE, "--all"))
        ]
        _add_copies(client, dead_letters_key(GroupRef(_QUEUE, _GROUP)), letter, letters)
        before = client.xlen(_QUEUE)
        rows.append(["`dead list --json`", *_timed(servers, "dead", "list", _QUEUE, "--json")])
        rows.append(["`dead replay --all`", *_timed(servers, "dead", "replay", _QUEUE, "--all")])
        if client.xlen(_QUEUE) - before != letters + 1:
            raise AssertionError(f"{client.xlen(_QUEUE) - before} letters replayed, not {letters + 1}")
    return Section(
        "Operators' commands",
        f"On a stream of {entries:,} entries of which {pending:,} are pending, and with {letters:,} dead letters; "
        "one run of each, the start of the interpreter included.",
        ("command", "seconds", "its CPU seconds", "peak MiB"),
        rows,
    )


def _real_letter(servers: Servers, client: Redis) -> dict[bytes, bytes]:
    """Have a record fail, and return the fields of its dead letter."""
    client.xadd(_QUEUE, {"record": "no JSON"})
    untyped: Any = client
    with started(servers, contender("streamfea, a dead letter", _QUEUE)):
        wait_until(lambda: client.xlen(dead_letters_key(GroupRef(_QUEUE, _GROUP))) == 1, "a dead letter")
    [(_, fields)] = untyped.xrange(dead_letters_key(GroupRef(_QUEUE, _GROUP)))
    return dict(fields)


def _add_copies(client: Redis, stream: str, fields: dict[Any, Any], count: int) -> None:
    flat = [part for pair in fields.items() for part in pair]
    for start in range(0, count, _AT_ONCE):
        client.eval(_COPIES, 1, stream, min(_AT_ONCE, count - start), *flat)


def _leave_pending(client: Redis, count: int) -> None:
    for start in range(0, count, _AT_ONCE):
        client.xreadgroup(_GROUP, "gone", {_QUEUE: ">"}, count=min(_AT_ONCE, count - start))


def _timed(servers: Servers, *command: str) -> tuple[str, str, str]:
    """Run a command; return seconds, CPU seconds and peak MiB as text."""
    began = time.perf_counter()
    process = psutil.Popen(
        [sys.executable, "-m", "streamfea", *command, "-c", str(servers.config)],
        env=servers.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    cpu = peak = 0.0
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            cpu, peak = max(cpu, cpu_seconds(process.pid)), max(peak, peak_mib(process.pid))
        time.sleep(_LOOK_EVERY_SECONDS)
    if process.returncode not in _FINE:
        raise AssertionError(f"{' '.join(command)}: exit code {process.returncode}")
    return f"{time.perf_counter() - began:.1f}", f"{cpu:.1f}", f"{peak:.0f}"
