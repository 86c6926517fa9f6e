"""A session whose transaction its user cannot end: what exactly-once gives to handlers that commit by themselves.

What a record did and the note that it is done have to be one transaction. So here `commit()` is a flush, a look at the
deferred constraints and a savepoint, and `rollback()` goes back to the last of these.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session, SessionTransaction

__all__ = ["EnclosingSession", "TransactionAborted"]


class TransactionAborted(Exception):  # noqa: N818 - it says what happened, as psycopg's InFailedSqlTransaction does
    """The transaction that was to be committed is gone: an SQL error aborted it, or the handler ended it."""


class _Unheard:
    """A session's listeners, without those of commits."""

    def __init__(self, dispatch: Any) -> None:
        self._dispatch = dispatch

    def __getattr__(self, name: str) -> Any:
        return _hear_nothing if name in ("before_commit", "after_commit") else getattr(self._dispatch, name)


def _hear_nothing(_session: Session) -> None:
    """Stand in for the listeners."""


class EnclosingSession(Session):
    """A session that can keep a record's own commits inside an enclosing transaction."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._enclosing: SessionTransaction | None = None
        self._boundary: SessionTransaction | None = None

    def enclose(self) -> None:
        """Open the enclosing transaction."""
        self._enclosing = self.begin()

    def start_inside(self) -> None:
        """Open what a record's `rollback()` goes back to, if there is an enclosing transaction."""
        if self._enclosing is not None:
            self._boundary = super().begin(nested=True)

    @property
    def has_ended(self) -> bool:
        """Whether the enclosing transaction, if there is one, was ended from within."""
        return self._enclosing is not None and self.get_transaction() is not self._enclosing

    def commit_inside(self) -> None:
        """Do what a commit does but for the end of the transaction: write, look at deferred constraints, expire."""
        while self.get_nested_transaction() not in (None, self._boundary):
            self._innermost().commit()
        self.dispatch.before_commit(self)
        self.flush()
        try:
            self._check_deferred_constraints()
        except Exception:
            self.roll_back_inside()
            raise
        with self._unheard():
            self._innermost().commit()
        self.dispatch.after_commit(self)
        self.expire_all()
        self.start_inside()

    def commit_enclosing(self) -> None:
        """Commit the enclosing transaction, of which listeners hear as of one commit."""
        self.dispatch.before_commit(self)
        self.flush()
        with self._unheard():
            super().commit()
        self.dispatch.after_commit(self)

    @contextmanager
    def _unheard(self) -> Iterator[None]:
        """Keep a commit, of what is a savepoint to PostgreSQL or more than a record's, from listeners."""
        dispatch: Any = self.dispatch
        self.dispatch: Any = _Unheard(dispatch)
        try:
            yield
        finally:
            self.dispatch = dispatch

    def roll_back_inside(self) -> None:
        """Go back to the record's last commit, or its start."""
        while self.get_nested_transaction() is not None:
            self._innermost().rollback()
        self.start_inside()

    def _innermost(self) -> SessionTransaction:
        nested = self.get_nested_transaction()
        if nested is None:
            raise TransactionAborted("the handler ended the transaction, which exactly-once does not allow")
        return nested

    def _check_deferred_constraints(self) -> None:
        """Raise what a COMMIT would; rolling back to the savepoint makes the constraints deferred again."""
        connection = super().connection()
        with connection.begin_nested() as savepoint:
            connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
            savepoint.rollback()
