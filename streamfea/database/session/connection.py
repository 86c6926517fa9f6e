"""The connection beneath a handler's session, which notices whatever is done to it.

What is done to the connection, or to the driver's, goes past the session, and nobody could tell whose work it ends.
"""

import sys
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import SessionTransaction
from sqlalchemy.sql.elements import ReleaseSavepointClause, RollbackToSavepointClause, SavepointClause

from streamfea.database.connection.health import wait_for_locks_less
from streamfea.database.session.account import Effect
from streamfea.database.session.statements import may_be_shared

if TYPE_CHECKING:
    from streamfea.database.session.session import DbSession

__all__ = ["listen_to", "note_connection"]

_SAVEPOINT_STATEMENTS = (SavepointClause, RollbackToSavepointClause, ReleaseSavepointClause)
# The session whose transaction runs on a connection; weak both ways, since a session holds its connection.
_sessions: "WeakKeyDictionary[Connection, ref[DbSession]]" = WeakKeyDictionary()


class _RecordConnection(Connection):
    """A connection that asks the transaction at hand before a record may go past its session."""

    @property
    def connection(self) -> Any:
        """The pooled connection of the driver."""
        session = _session_on(self)
        if session is not None and session._at_hand is not None and not _is_own(sys._getframe(1).f_globals["__name__"]):
            session._account.note(Effect.SQL)
            session._at_hand.on_driver(self)
        return super().connection

    def execution_options(self, **options: Any) -> Connection:
        """Set options, such as a map of schemas, for the record only."""
        session = _session_on(self)
        if session is not None and session._at_hand is not None:
            session._at_hand.on_options()
        return super().execution_options(**options)


def listen_to(engine: Engine) -> None:
    """Notice the statements, commits and rollbacks of the engine's connections, and whoever goes past them."""
    event.listen(engine, "engine_connect", _become_record_connection)
    event.listen(engine, "before_cursor_execute", _note_statement)
    event.listen(engine, "commit", _note_commit)
    event.listen(engine, "rollback", _note_rollback)


def note_connection(session: Any, _transaction: SessionTransaction, connection: Connection) -> None:
    """Note that a session's transaction runs on `connection`."""
    _sessions[connection] = ref(session)
    session._connection_at_hand = connection
    if session._waits_for_locks_less:
        wait_for_locks_less(connection)


def _become_record_connection(connection: Any) -> None:
    """Give a new connection the class above: SQLAlchemy has no documented way to have an engine make such."""
    connection.__class__ = _RecordConnection


def _is_own(module: str) -> bool:
    """Tell whether it is not the handler, nor a library of its, that asks."""
    return module.startswith(("sqlalchemy.", "streamfea."))


def _session_on(connection: Connection) -> "DbSession | None":
    reference = _sessions.get(connection)
    return reference() if reference is not None else None


def _note_statement(
    connection: Connection, _cursor: object, statement: str, parameters: object, context: Any, _many: object
) -> None:
    """Stop a handler that sends what others' work in the transaction is not to share, or exactly-once cannot allow."""
    session = _session_on(connection)
    if session is None:
        return
    session._account.note(Effect.SQL)
    session._put_off.look_at(statement, parameters)
    if session._at_hand is not None and not may_be_shared(statement) and not _is_savepoint(context):
        session._new_rows.forget_plans()
        session._put_off.forget()
        session._deferred_constraints.forget()
        session._at_hand.on_unshared_statement(statement)


def _is_savepoint(context: Any) -> bool:
    """Tell whether SQLAlchemy itself sends this statement about a savepoint that it has registered."""
    return isinstance(getattr(context, "invoked_statement", None), _SAVEPOINT_STATEMENTS)


def _note_commit(connection: Connection) -> None:
    """Stop a handler that commits by the connection, behind its session's back."""
    session = _session_on(connection)
    if session is not None and session._at_hand is not None:
        session._at_hand.on_connection_commit()


def _note_rollback(connection: Connection) -> None:
    session = _session_on(connection)
    if session is not None:
        session._account.note(Effect.SPOILED)
