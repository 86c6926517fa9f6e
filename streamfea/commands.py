"""For a handler's own commands: a session, and the settings of their queue.

    import typer

    from streamfea import commands

    def register_commands(app: typer.Typer) -> None:
        @app.command()
        def forget(sensor: str) -> None:
            \"\"\"Delete the readings of a sensor.\"\"\"
            deleted = commands.dbsession().execute(delete(Reading).where(Reading.sensor == sensor)).rowcount
            print(f"{deleted} readings of the stream {commands.queue().stream} are gone.")

Run as `streamfea handlers QUEUE forget SENSOR`. What the session did is committed when the command succeeds, and
rolled back when it raises or exits with another code than 0.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

import typer

from streamfea.config.sections import Queue
from streamfea.config.settings import Settings
from streamfea.database.connection.engine import open_database
from streamfea.database.session.session import DbSession, open_sessions
from streamfea.errors import StreamfeaError

__all__ = ["at_hand", "dbsession", "queue"]


def dbsession() -> DbSession:
    """Return the command's session on the configured database; the first call opens it.

    Raises `StreamfeaError` outside of a handler's command, and for an embedded server that cannot be started.
    """
    return _current().session()


def queue() -> Queue:
    """Return the settings of the queue that the command was called for; raises `StreamfeaError` outside of one."""
    return _current().queue


@contextmanager
def at_hand(settings: Settings, queue: Queue) -> Iterator[None]:
    """Provide a session and `queue` inside; commit at the end, or roll back after a failure."""
    with ExitStack() as stack:
        command = _Command(settings, queue, stack)
        token = _command.set(command)
        try:
            yield
        except (typer.Exit, SystemExit) as end:
            if _succeeded(end):
                command.commit()
            raise
        finally:
            _command.reset(token)
        command.commit()


class _Command:
    def __init__(self, settings: Settings, queue: Queue, stack: ExitStack) -> None:
        self.queue = queue
        self._settings = settings
        self._stack = stack
        self._session: DbSession | None = None

    def session(self) -> DbSession:
        if self._session is None:
            engine = open_database(self._settings.database)
            self._stack.callback(engine.dispose)
            self._session = self._stack.enter_context(open_sessions(engine, bulk=False)())
        return self._session

    def commit(self) -> None:
        if self._session is not None:
            self._session.commit()


_command: ContextVar[_Command] = ContextVar("command")


def _current() -> _Command:
    try:
        return _command.get()
    except LookupError:
        raise StreamfeaError(
            "session and queue are at hand in a handler's own commands only",
            remedy="run `streamfea handlers QUEUE COMMAND`",
        ) from None


def _succeeded(end: typer.Exit | SystemExit) -> bool:
    return (end.code if isinstance(end, SystemExit) else end.exit_code) in (0, None)
