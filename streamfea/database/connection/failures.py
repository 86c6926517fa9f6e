"""Counts how often sessions of an engine got no connection, or could not begin a transaction on one.

SQLAlchemy leaves no trace of that in a session. A handler may have met it, and hidden it.
"""

from weakref import WeakKeyDictionary

from sqlalchemy import Engine, ExceptionContext, event

__all__ = ["BeginFailures", "begin_failures"]


class BeginFailures:
    """How often sessions of an engine could not begin."""

    def __init__(self) -> None:
        self.count = 0

    def note(self) -> None:
        """Note that a session could not begin."""
        self.count += 1

    def note_unless_connected(self, context: ExceptionContext) -> None:
        """Note an error that SQLAlchemy reports if no connection could be made."""
        if context.connection is None:
            self.note()


_of_engines: "WeakKeyDictionary[Engine, BeginFailures]" = WeakKeyDictionary()


def begin_failures(engine: Engine) -> BeginFailures:
    """Return the count of an engine, which begins when it is first asked for."""
    failures = _of_engines.get(engine)
    if failures is None:
        failures = _of_engines[engine] = BeginFailures()
        event.listen(engine, "handle_error", failures.note_unless_connected)
    return failures
