"""Notices a connection that is dead without an error, as when a network or a proxy forwards nothing any more.

TCP's own time-outs notice that only where nothing between us and PostgreSQL still answers. A statement may take as
long as it likes, so silence proves nothing either. So while PostgreSQL keeps silent, it is asked over another
connection whether it still works for this one, or waits for us in turn.
"""

import time
from collections.abc import Callable, Generator
from contextlib import nullcontext
from typing import Any, TypeVar

import psycopg
from psycopg.pq import ConnStatus
from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError

from streamfea.core.descriptors import identity, kept_open
from streamfea.database.connection.psycopg_internals import VERSIONS, Ready

__all__ = ["RunClock", "VigilantConnection", "keep_vigil"]

T = TypeVar("T")

_ASK_EVERY_SECONDS = 2.0
_ANSWER_WITHIN_SECONDS = 2  # libpq's shortest
_ASK_AT_MOST = 2
_INTERVAL_SECONDS = 0.1
_IS_FOR_US = "SELECT wait_event_type IS DISTINCT FROM 'Client' FROM pg_stat_activity WHERE pid = %s"


class RunClock:
    """Measures how long a record runs. It pauses while PostgreSQL may be away, since that time is no record's."""

    def pause(self) -> None:
        """PostgreSQL has gone silent."""

    def resume(self, *, counts: bool) -> None:
        """Go on; what has passed since `pause()` is the record's after all if it `counts`."""


def keep_vigil(engine: Engine, clock: RunClock) -> None:
    """Have the connections of `engine` notice that they are dead, and `clock` pause while they may be."""
    if not VERSIONS.has_installed:
        return

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, arguments: Any, options: dict[str, Any]) -> VigilantConnection:
        clock.pause()
        try:
            connection = VigilantConnection.connect(*arguments, **options)
        finally:
            clock.resume(counts=False)
        connection.clock = clock
        connection.options = {**options, "connect_timeout": _ANSWER_WITHIN_SECONDS}
        connection.backend_pid = connection.info.backend_pid
        connection.socket_identity = identity(connection.fileno())
        return connection

    @event.listens_for(engine, "checkout")
    def check_out(connection: VigilantConnection, _record: object, _proxy: object) -> None:
        try:
            connection.let_go_if_closed()
        except psycopg.OperationalError as error:
            raise DisconnectionError from error  # the pool makes a new one


class VigilantConnection(psycopg.Connection[Any]):
    """A connection that raises `OperationalError` when PostgreSQL has silently stopped working for it.

    `backend_pid` is the backend that has its transaction; behind a pooler, which serves clients in turn, that of an
    earlier one will do: an answer to a later question proves that this connection has had its turn.
    """

    options: dict[str, Any]
    backend_pid: int | None
    socket_identity: tuple[int, int] | None
    clock: RunClock

    def wait(self, gen: Generator[Any, Any, T], interval: float = _INTERVAL_SECONDS, timeout: float | None = None) -> T:
        """Wait as psycopg does, not for ever, and on no socket but its own."""
        self.let_go_if_closed()
        try:
            return super().wait(self._asking(gen), interval, timeout)
        except psycopg.OperationalError:
            self.let_go_if_closed()
            raise

    def let_go_if_closed(self) -> None:
        """Raise `OperationalError` when somebody has closed the socket; its number may be another's by now."""
        if self.pgconn.status == ConnStatus.BAD:  # psycopg says what that means
            return
        descriptor = self.pgconn.socket
        found = identity(descriptor)
        if found == self.socket_identity:
            return
        with kept_open(descriptor) if found else nullcontext():
            self.pgconn.finish()
        raise psycopg.OperationalError("the connection to PostgreSQL is lost: its socket was closed in this process")

    def _asking(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """Run `gen`; ask over another connection when nothing comes for a while."""
        silence: _Silence | None = None
        ready: Any = None
        try:
            while True:
                ready = yield gen.send(ready)
                if ready != Ready.NONE:
                    if silence is not None:
                        silence.end()
                        silence = None
                elif silence is None:
                    silence = _Silence(self.clock)
                elif silence.is_deadly(self._is_worked_for):
                    self.pgconn.finish()
                    raise psycopg.OperationalError("the connection to PostgreSQL is dead: nothing comes through it")
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            if silence is not None:
                silence.end()

    def _is_worked_for(self) -> bool:
        """Tell whether PostgreSQL works for this connection, or cannot be asked although it answers."""
        try:
            with psycopg.connect(**self.options, autocommit=True) as other:
                row = other.execute(_IS_FOR_US, [self.backend_pid], prepare=False).fetchone()
        except psycopg.errors.ConnectionTimeout:
            return False
        except psycopg.Error:
            return True
        return bool(row and row[0])


class _Silence:
    """How long PostgreSQL has sent nothing, and what it said over another connection meanwhile."""

    def __init__(self, clock: RunClock) -> None:
        self._clock = clock
        self._doubts = 0
        self._asked_at = time.monotonic()
        clock.pause()

    def is_deadly(self, is_worked_for: Callable[[], bool]) -> bool:
        """Ask `is_worked_for` when it is time to; tell whether the answer was no too often."""
        if time.monotonic() - self._asked_at < _ASK_EVERY_SECONDS:
            return False
        is_well = is_worked_for()
        self._asked_at = time.monotonic()
        # A statement may take long by itself, too: then the time is its record's.
        self._clock.resume(counts=is_well)
        self._clock.pause()
        self._doubts = 0 if is_well else self._doubts + 1
        return self._doubts >= _ASK_AT_MOST

    def end(self) -> None:
        """PostgreSQL has sent something, or nobody waits for it any more."""
        self._clock.resume(counts=not self._doubts)
