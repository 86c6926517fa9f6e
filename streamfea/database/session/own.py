"""The transaction of a single record, or of one `process_batch()`."""

from collections.abc import Sequence
from inspect import isfunction
from typing import TYPE_CHECKING, Any

from psycopg.pq import TransactionStatus
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, SessionEvents, SessionTransaction

from streamfea.core.entry import Entry
from streamfea.database.connection.driver import status_of
from streamfea.database.connection.failures import BeginFailures
from streamfea.database.session.account import Effect

if TYPE_CHECKING:
    from streamfea.database.session.session import DbSession
from streamfea.model import remember

__all__ = ["OwnTransaction", "TransactionAborted"]


_EVENTS = tuple(name for name, event in vars(SessionEvents).items() if isfunction(event) and not name.startswith("_"))


class TransactionAborted(Exception):  # noqa: N818 - it says what happened, as psycopg's InFailedSqlTransaction does
    """The transaction that was to be committed is gone: an SQL error aborted it, or the handler ended it."""


class OwnTransaction:
    """A transaction that its record may end as any other; `commit()` ends it for the worker.

    The methods whose names begin with `on_` do, while the record runs, what its handler asks its session for.
    """

    has_connection = False
    """Whether the session has a connection already when its record begins."""

    def __init__(self, session: "DbSession", failures: BeginFailures) -> None:
        self.session = session
        self._failures = failures
        self._failed_before = failures.count
        self._account = session._account
        self._new_rows = session._new_rows
        # SQLAlchemy takes the transaction for ended although the server was never told.
        self._is_half_ended = False

    # The worker's side

    def begin(self) -> None:
        """Start before the first statement, if need be."""

    def wait_for_locks_less(self) -> None:
        """Have a wait for somebody's lock end before `statement_timeout` would: the two can be told apart then."""
        self.session._waits_for_locks_less = True

    def begin_record(self, entry: Entry) -> None:
        """Start the record of `entry`."""
        self.session.entry = entry
        self._account.begin()
        self.session._at_hand = self

    def begin_batch(self, entries: Sequence[Entry]) -> None:
        """Start what `process_batch()` does with the records of `entries`."""
        self.session.entries = tuple(entries)
        if len(entries) == 1:
            self.session.entry = entries[0]
        if not _is_listened_to(self.session):
            self._new_rows.start(self.session.dispatch)
        self._account.begin()
        self.session._at_hand = self

    def end_record(self) -> None:
        """Note that the record's code has run: what is called from now on is streamfea's own doing."""
        self.session._at_hand = None

    def commit(self) -> None:
        """Commit what the record, or the batch, did.

        Raises `TransactionAborted` when PostgreSQL would silently roll back instead. A handler that returns although
        its own flush or commit has met an `IntegrityError` takes that for no failure, but for a record that is in
        already: what it did since its last commit is rolled back, and that is all.
        """
        self.end_record()
        is_refused = self._account.refused is not None and not self.session.is_active
        if self._failures.count != self._failed_before:
            raise TransactionAborted("no transaction could be begun, and the handler went on as if nothing were")
        if self.aborted and not is_refused:
            raise TransactionAborted("an SQL error aborted the transaction, and the handler went on as if nothing were")
        self._require_whole()
        if is_refused:
            self.on_rollback()
        if not _is_listened_to(self.session):
            self._new_rows.keep(self.session, "", pure=False)
            self.session._write_rows()
        self._commit()

    def discard(self) -> None:
        """Let go of the transaction and of everything in the session; neither is used after that."""
        session = self.session
        self.end_record()
        self._new_rows.clear()
        session._put_off.statements.clear()
        try:
            Session.invalidate(session) if self._is_half_ended else Session.close(session)
        except SQLAlchemyError:  # the connection is gone, and with it whatever the session held
            Session.invalidate(session)
        # A session and its transactions refer to each other until the collector looks, which may be many records later.
        session.__dict__.pop("entry", None)
        session.entries = ()

    @property
    def wants_own(self) -> bool:
        """Whether the record asked for a transaction of its own, even if it hid that it was stopped."""
        return self._account.effect is Effect.LEFT

    @property
    def aborted(self) -> bool:
        """Whether PostgreSQL has given the transaction up after an SQL error: its COMMIT would silently roll back."""
        connection = self.session._connection_at_hand
        if not self.session.in_transaction() or connection is None or connection.closed:
            return False  # nothing was sent yet; opening a connection here might fail, which is no SQL error
        return connection.invalidated or status_of(connection) not in (
            TransactionStatus.IDLE,
            TransactionStatus.INTRANS,
        )

    @property
    def lost(self) -> bool:
        """Whether the connection broke, or could not be made, even if the handler hid the error."""
        if self._failures.count != self._failed_before:
            return True
        connection = self.session._connection_at_hand
        if connection is None or connection.closed:
            return False
        return connection.invalidated or status_of(connection) is TransactionStatus.UNKNOWN

    def _require_whole(self) -> None:
        """Raise `TransactionAborted` if the handler has ended what it was not to end."""

    def _commit(self) -> None:
        Session.commit(self.session)

    # What its record asks for

    def before_statement(self, clause: Any = None) -> None:
        """Do what must come before a statement of the record."""

    def on_changed_statement(self) -> None:
        """Execute a statement that has waited, and is not what it was any more."""

    def start(self) -> None:
        """Do what must come before the first statement of all."""

    def put_off(self, statement: Any, given: Any) -> Any:  # noqa: ARG002 - for the transaction that many records share
        """Have a statement wait, and return its result; None if it has to go now."""
        return None

    def on_commit(self) -> None:
        """Commit."""
        session: Any = self.session
        if not session.dispatch.before_commit:  # which would come before the flush, and may add to it
            session.flush()
        remember(session)
        Session.commit(session)

    def on_rollback(self) -> None:
        """Roll back; objects that are set aside have begun no transaction, in which SQLAlchemy would look for them."""
        Session.rollback(self.session)
        self._new_rows.forget_aside()

    def on_begin(self) -> SessionTransaction:
        """Begin a transaction."""
        return Session.begin(self.session)

    def on_close(self) -> None:
        """Close the session."""
        Session.close(self.session)

    def on_reset(self) -> None:
        """Reset the session."""
        Session.reset(self.session)

    def on_expunge_all(self) -> None:
        """Remove every object from the session."""
        Session.expunge_all(self.session)

    def on_invalidate(self) -> None:
        """Close the session and its connections."""
        Session.invalidate(self.session)

    def on_prepare(self) -> None:
        """Prepare a two-phase commit."""
        Session.prepare(self.session)

    def on_options(self) -> None:
        """Set options of the connection, or send statements to another: COPY would know nothing of either."""
        self._new_rows.stop(self.session)

    def on_driver(self, connection: Connection) -> None:
        """Hand the driver's connection out."""

    def on_unshared_statement(self, statement: str) -> None:
        """Send a statement that other records in the transaction would notice."""

    def on_connection_commit(self) -> None:
        """Commit by the connection, behind the session's back."""


def _is_listened_to(session: Session) -> bool:
    """Tell whether somebody listens to the session, who is to find new objects where SQLAlchemy keeps them."""
    dispatch: Any = session.dispatch
    heard = sum(len(getattr(dispatch, name)) for name in _EVENTS)
    return heard > 1  # of `after_begin` hears streamfea itself
