"""The transaction of a record and its ledger row."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session, SessionTransaction

from streamfea.core.entry import Entry
from streamfea.database.connection.driver import driver_of
from streamfea.database.connection.failures import BeginFailures
from streamfea.database.session.account import Effect
from streamfea.database.session.own import OwnTransaction, TransactionAborted
from streamfea.database.session.statements import reason_against_enclosing

if TYPE_CHECKING:
    from streamfea.database.session.session import DbSession
from streamfea.model import remember

__all__ = ["EnclosedTransaction"]


class EnclosedTransaction(OwnTransaction):
    """The transaction of a record and its ledger row: its handler cannot end it.

    What a record did and that note have to be one transaction. So here `commit()` is a flush, a look at the deferred
    constraints and a savepoint, and `rollback()` goes back to the last of these.
    """

    has_connection = True

    def __init__(self, session: "DbSession", failures: BeginFailures) -> None:
        super().__init__(session, failures)
        self._root: SessionTransaction | None = None
        # The savepoint that a `rollback()` of the record goes back to.
        self._boundary: SessionTransaction | None = None
        # The driver's connection whose own commit() and rollback() are refused.
        self._driver: psycopg.Connection[Any] | None = None

    def begin(self) -> None:
        """Open the transaction; the note that the record is done comes next."""
        self._root = Session.begin(self.session)

    def begin_record(self, entry: Entry) -> None:
        """Start the record of `entry`."""
        self._set_boundary()
        super().begin_record(entry)

    def begin_batch(self, entries: Sequence[Entry]) -> None:
        """Start what `process_batch()` does with the records of `entries`."""
        self._set_boundary()
        super().begin_batch(entries)

    def end_record(self) -> None:
        """Note that the record's code has run: what is called from now on is streamfea's own doing."""
        super().end_record()
        driver, self._driver = self._driver, None
        if driver is not None:
            del driver.commit, driver.rollback

    def on_commit(self) -> None:
        """Do what a commit does but for the end of the transaction: write, look at deferred constraints, expire."""
        session = self.session
        while session.get_nested_transaction() not in (None, self._boundary):
            self._innermost().commit()
        session.dispatch.before_commit(session)
        session.flush()
        try:
            self._check_deferred_constraints()
        except Exception:
            self.on_rollback()
            raise
        remember(session)
        with self._unheard():
            self._innermost().commit()
        session.dispatch.after_commit(session)
        session.expire_all()
        self._set_boundary()

    def on_rollback(self) -> None:
        """Go back to the record's last commit, or its start."""
        while self.session.get_nested_transaction() is not None:
            self._innermost().rollback()
        self._set_boundary()

    def on_begin(self) -> SessionTransaction:
        """Begin a transaction, by a savepoint."""
        return Session.begin(self.session, nested=True)

    def on_close(self) -> None:
        """Roll back and remove every object."""
        self.on_rollback()
        Session.expunge_all(self.session)

    def on_reset(self) -> None:
        """Roll back and remove every object."""
        self.on_close()

    def on_invalidate(self) -> None:
        """Refuse."""
        _refuse("invalidate the transaction")

    def on_prepare(self) -> None:
        """Refuse."""
        _refuse("prepare the transaction")

    def on_driver(self, connection: Connection) -> None:
        """Have the driver's own `commit()` and `rollback()` raise until the record ends, for the ledger's sake."""
        self._driver = driver = driver_of(connection)
        driver.commit = driver.rollback = _refuse_to_end  # type: ignore[method-assign]  # of this one connection

    def on_unshared_statement(self, statement: str) -> None:
        """Refuse statements that end the transaction, or cannot run in it."""
        if refused := reason_against_enclosing(statement):
            raise TransactionAborted(refused)

    def on_connection_commit(self) -> None:
        """Refuse."""
        self._is_half_ended = True
        _refuse("commit its connection, past the transaction")

    def _require_whole(self) -> None:
        has_ended = self.session.get_transaction() is not self._root
        if has_ended or self._is_half_ended or self._account.effect is Effect.SPOILED:
            raise TransactionAborted("the handler ended the transaction, which exactly-once does not allow")

    def _commit(self) -> None:
        """Commit; listeners hear of a single commit."""
        session = self.session
        session.dispatch.before_commit(session)
        session.flush()
        with self._unheard():
            Session.commit(session)
        session.dispatch.after_commit(session)

    def _set_boundary(self) -> None:
        self._boundary = Session.begin(self.session, nested=True)

    def _innermost(self) -> SessionTransaction:
        nested = self.session.get_nested_transaction()
        if nested is None:
            raise TransactionAborted("the handler ended the transaction, which exactly-once does not allow")
        return nested

    @contextmanager
    def _unheard(self) -> Iterator[None]:
        """Hide a commit from listeners that is a savepoint in PostgreSQL, or more than the record's own."""
        session: Any = self.session
        dispatch = session.dispatch
        session.dispatch = _WithoutCommits(dispatch)
        try:
            yield
        finally:
            session.dispatch = dispatch

    def _check_deferred_constraints(self) -> None:
        """Raise what a COMMIT would; rolling back to the savepoint makes the constraints deferred again."""
        connection = Session.connection(self.session)
        with connection.begin_nested() as savepoint:
            connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
            savepoint.rollback()


class _WithoutCommits:
    """A session's listeners, without those of commits."""

    def __init__(self, dispatch: Any) -> None:
        self._dispatch = dispatch

    def __getattr__(self, name: str) -> Any:
        return _hear_nothing if name in ("before_commit", "after_commit") else getattr(self._dispatch, name)


def _hear_nothing(_session: Session) -> None:
    """Stand in for the listeners."""


def _refuse(deed: str) -> NoReturn:
    raise TransactionAborted(f"exactly-once does not allow a handler to {deed}")


def _refuse_to_end() -> NoReturn:
    raise TransactionAborted("the handler ended the transaction by the driver, which exactly-once does not allow")
