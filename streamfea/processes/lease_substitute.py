"""Renews the entries of a worker that cannot: a handler that blocks in C may keep the interpreter's lock.

No thread of such a worker runs, the one that renews its leases neither. It is slow, not dead, so the supervisor starts
a process for as long as that lasts, `timeout` at the longest. A worker whose process is stopped gets none: nobody knows
whether it will ever go on.

When the supervisor is killed, such a worker does not notice: the process beside it ends it after `shutdown_timeout`.
"""

import os
import signal
import subprocess
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import structlog
from redis.exceptions import RedisError

from streamfea.config.sections import Queue
from streamfea.config.settings import Settings
from streamfea.observe.logs import say_in_every_line
from streamfea.streams.connection.client import open_redis
from streamfea.streams.consuming.group import GroupConsumer
from streamfea.streams.consuming.name_lock import NameHolder, NameLock
from streamfea.worker.lease import renew_every
from streamfea.worker.monitor import SharedRunMonitor
from streamfea.worker.stop_signal import StopSignal

__all__ = ["blocked_after", "runs", "substitute_main"]

log = structlog.get_logger(__name__)

_AT_MOST = 10_000
_LOOK_EVERY_SECONDS = 0.1
_STOPPED_OR_GONE = ("T", "t", "Z", "X", "")


def blocked_after(claim_idle: timedelta) -> float:
    """Return after how many seconds without renewal a substitute has to renew."""
    return 1.5 * renew_every(claim_idle)


def substitute_main(
    stop: StopSignal,
    settings: Settings,
    queue: Queue,
    consumer: str,
    holder: NameHolder,
    pid: int,
    monitor: SharedRunMonitor,
) -> None:
    """Renew name and entries of `consumer`, the process `pid`, until that can do so itself, is stopped, or is gone."""
    say_in_every_line(queue=queue.name)
    supervisor = os.getppid()
    log.info("renewing for a worker whose handler blocks all its threads", consumer=consumer, entry=monitor.entry_id)
    client = open_redis(settings.redis)
    group = GroupConsumer(client, queue.ref, consumer, queue.claim_idle)
    name_lock = NameLock(client, queue.ref, consumer, replace(holder, pid=pid), monitor.running)
    try:
        while not stop.is_set() and monitor.is_blocked(blocked_after(queue.claim_idle)) and runs(pid):
            try:
                name_lock.renew()
                group.renew(group.working_on(_AT_MOST))
            except RedisError as error:
                log.debug("could not renew", reason=str(error))
            stop.wait(renew_every(queue.claim_idle))
    finally:
        client.close()
    if os.getppid() != supervisor:
        _end(pid, queue, monitor)


def _end(pid: int, queue: Queue, monitor: SharedRunMonitor) -> None:
    """Let a process finish its record, and kill it if it does not within `shutdown_timeout`."""
    deadline = time.monotonic() + queue.shutdown_timeout.total_seconds()
    while monitor.is_blocked(blocked_after(queue.claim_idle)) and runs(pid):
        if time.monotonic() > deadline:
            log.error("a worker without a supervisor does not end: killing it", pid=pid, entry=monitor.entry_id)
            os.kill(pid, signal.SIGKILL)
            return
        time.sleep(_LOOK_EVERY_SECONDS)


def runs(pid: int) -> bool:
    """Tell whether a process is there and not stopped."""
    status = Path(f"/proc/{pid}/stat")
    if Path("/proc/self").exists():
        try:
            state = status.read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
    else:
        state = subprocess.run(
            ["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout.strip()
    return state[:1] not in _STOPPED_OR_GONE
