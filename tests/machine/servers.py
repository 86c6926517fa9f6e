"""The servers under test: stopped, killed, stalled, robbed of the last second."""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from redis import Redis
from sqlalchemy import NullPool, create_engine, make_url

from streamfea.embedded import ensure_postgresql, ensure_valkey, server_pid, stop
from tests.machine.history import now_ms
from tests.machine.processes import family, send

__all__ = ["Servers"]

_LOOK_EVERY_SECONDS = 0.05
_FSYNC_MS = 1000
# While a sync is under way on a slow disk, Redis holds back what it has confirmed for up to two seconds, in memory
# (its documentation, "Redis persistence"): so long may be lost with the process, and is not in the file yet.
_HELD_BACK_MS = 2000


class Servers:
    """A Valkey and a PostgreSQL in `folder`, reached past the proxies."""

    def __init__(self, folder: Path) -> None:
        self.valkey, self.postgresql = folder / "valkey", folder / "postgresql"
        self.redis_url = ensure_valkey(self.valkey)
        self.database_url = ensure_postgresql(self.postgresql)
        self.redis_socket = self.valkey / "valkey.sock"
        host = make_url(self.database_url).query["host"]
        self.database_socket = Path(str(host)) / ".s.PGSQL.5432"
        self.engine = create_engine(self.database_url, poolclass=NullPool)
        # Pairs of time and size: what the append-only file held when.
        self._sizes: deque[tuple[float, Path, int]] = deque(maxlen=200)

    @contextmanager
    def running(self) -> Iterator["Servers"]:
        """Watch the append-only file meanwhile; stop both servers afterwards."""
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(ended,), name="append-only file")
        watcher.start()
        try:
            yield self
        finally:
            ended.set()
            watcher.join()
            stop(self.valkey, at_once=True)
            stop(self.postgresql, at_once=True)

    @contextmanager
    def redis(self) -> Iterator[Any]:
        """Open a client of Valkey."""
        with Redis.from_url(self.redis_url, protocol=2, socket_timeout=10) as client:
            yield client

    def restart_valkey(self, away_seconds: float) -> None:
        """Stop it, and start it again."""
        stop(self.valkey)
        time.sleep(away_seconds)
        ensure_valkey(self.valkey)

    def kill_valkey(self, away_seconds: float) -> tuple[float, float]:
        """Kill it, and start it again; return the span, in ms, of which writes may be lost."""
        stop(self.valkey, at_once=True)
        killed = now_ms()
        time.sleep(away_seconds)
        # A producer may note late what was confirmed before; a dead server confirms nothing.
        end = now_ms()
        ensure_valkey(self.valkey)
        return killed - _HELD_BACK_MS, end

    def lose_the_last_second(self) -> tuple[float, float]:
        """Do what a crash of the whole machine does: what was not synced is gone. Return the span that was lost, in ms.

        Its restart has to keep the last-generated id, as its own does: the file is cut, nothing else.
        """
        stop(self.valkey, at_once=True)
        end = now_ms()
        cut = next(((at, path, size) for at, path, size in reversed(self._sizes) if at < end - _FSYNC_MS), None)
        if cut is not None and cut[1] == _append_only_file(self.valkey):
            os.truncate(cut[1], cut[2])
        else:
            cut = None
        self._sizes.clear()
        started = now_ms()  # a producer may note late what was confirmed before
        ensure_valkey(self.valkey)
        return (cut[0] if cut else end) - _HELD_BACK_MS, started

    def restart_postgresql(self, away_seconds: float, *, at_once: bool) -> None:
        """Stop it, or kill it, and start it again."""
        stop(self.postgresql, at_once=at_once)
        time.sleep(away_seconds)
        ensure_postgresql(self.postgresql)

    def stall_valkey(self, seconds: float) -> None:
        """Have it do nothing for a while, as with a disk that hangs."""
        _stall(server_pid(self.valkey), seconds)

    def stall_postgresql(self, seconds: float) -> None:
        """Have all its processes do nothing for a while."""
        _stall(server_pid(self.postgresql), seconds)

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(_LOOK_EVERY_SECONDS):
            at = now_ms()
            with suppress(FileNotFoundError):  # Valkey has just replaced it
                path = _append_only_file(self.valkey)
                if path is not None:
                    self._sizes.append((at, path, path.stat().st_size))


def _stall(pid: int | None, seconds: float) -> None:
    stopped = family(pid)
    send(stopped, signal.SIGSTOP)
    time.sleep(seconds)
    send(stopped, signal.SIGCONT)


def _append_only_file(directory: Path) -> Path | None:
    files = sorted((directory / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)
    return files[-1] if files else None
