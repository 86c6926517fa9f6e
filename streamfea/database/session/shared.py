"""A transaction that many records share without noticing.

It commits the work of a whole batch, yet every record must see, and suffer, what it would with a transaction of its
own. So nothing of an earlier record is left in the session when the next begins: new rows that COPY can write are set
aside, and everything else is flushed at the end of its own record. And account is kept of what the record at hand has
done: has it sent SQL, is the transaction still the one that was opened. The worker decides from these what may be kept.
"""

from collections.abc import Callable, Container
from inspect import isfunction
from typing import TYPE_CHECKING, Any, NoReturn

import psycopg
from sqlalchemy.orm import Session, SessionEvents, SessionTransaction
from sqlalchemy.orm.exc import FlushError

from streamfea.core.entry import Entry
from streamfea.database.connection.failures import BeginFailures
from streamfea.database.session.account import Effect
from streamfea.database.session.own import OwnTransaction
from streamfea.database.session.own_commits import OwnCommits
from streamfea.database.session.stops import OwnTransactionRequired, StartAgain
from streamfea.orm.internals import count_listeners, deleted_in, holds_objects, is_known, root_transaction

if TYPE_CHECKING:
    from streamfea.database.session.session import DbSession

__all__ = ["OwnTransactionRequired", "SharedTransaction", "StartAgain"]

# What happens to a record's session that it has to itself, and not, or at another time, to one that many share.
_OWN_EVENTS = (
    "before_commit",
    "after_commit",
    "after_rollback",
    "after_soft_rollback",
    "after_transaction_create",
    "after_transaction_end",
    "pending_to_transient",
    "persistent_to_transient",
    "persistent_to_detached",
    "deleted_to_detached",
    "deleted_to_persistent",
)
_EVENTS = tuple(name for name, event in vars(SessionEvents).items() if isfunction(event) and not name.startswith("_"))
# As many flushes as a commit does until listeners leave nothing to flush (SQLAlchemy, `Session.commit`).
_MOST_FLUSHES = 100


class SharedTransaction(OwnTransaction):
    """A transaction for the records of a batch, one after the other.

    A record that asks for what would touch others' work, by one of the `on_` methods, is stopped by
    `OwnTransactionRequired`.
    """

    has_kept = False
    """Whether any record has been kept."""

    def __init__(self, session: "DbSession", failures: BeginFailures) -> None:
        super().__init__(session, failures)
        self._root: SessionTransaction | None = None
        self._before_first: Callable[[], object] | None = None
        self._stopped: BaseException | None = None
        # How many listeners there were for anything, and those of the session, when the transaction began.
        self._listeners = 0
        self._heard: list[int] = []
        # The names of what the session had then; handlers may set more.
        self._attributes: frozenset[str] = frozenset()
        self._commits = OwnCommits(session)

    @property
    def is_told_apart(self) -> bool:
        """Whether somebody listens for what happens to a session that a record has to itself, or may unnoticed."""
        if not is_known():
            return True
        dispatch: Any = self.session.dispatch
        return any(getattr(dispatch, name) for name in _OWN_EVENTS) or len(dispatch.after_begin) > 1

    def share(self, before_first: Callable[[], object] | None = None, commits_inside: bool = False) -> None:
        """Open the transaction; with `commits_inside` the records' own commits never end it.

        `before_first` is called before PostgreSQL is sent anything in it. What that raises ends the record at hand,
        whose `end_record()` raises it again if the handler has hidden it.
        """
        session = self.session
        self._root = Session.begin(session)
        self._before_first = before_first
        self._commits.are_inside = commits_inside
        self._new_rows.start(session.dispatch)
        session._put_off.start()
        self._listeners, self._heard = count_listeners(), self._hears()
        self._attributes = frozenset(session.__dict__)

    def start(self) -> None:
        """Call `before_first`, unless that is done."""
        before_first, self._before_first = self._before_first, None
        if before_first is None:
            return
        # Not the record's doing: what earlier records left is not to be written for it.
        session = self.session
        at_hand, session._at_hand = session._at_hand, None
        try:
            before_first()
        except BaseException as stopped:
            self._stopped = stopped
            raise
        finally:
            session._at_hand = at_hand

    def start_without(self) -> None:
        """Skip the `before_first` hook."""
        self._before_first = None

    def begin_record(self, entry: Entry) -> None:
        """Start the record of `entry` in a session that is as good as new."""
        session: Any = self.session
        if holds_objects(session):
            Session.expunge_all(session)
        if len(session.__dict__) != len(self._attributes):
            for name in session.__dict__.keys() - self._attributes:  # what the record before has set
                del session.__dict__[name]
        if session._info:
            session._info = {}
        session.expire_on_commit = session.autoflush = True
        session.entry = entry
        self._account.effect = Effect.NONE
        self._commits.is_refused = False
        session._at_hand = self

    def end_record(self) -> None:
        """Note that the record's code has run; raises what has stopped it, if the handler has hidden that."""
        super().end_record()
        if self._stopped is not None:
            raise self._stopped

    def keep_record(self) -> bool:
        """End the record: set the new rows aside that are written with the others', and flush all else that it did.

        Raises what the flush raises. Returns False, and leaves the record to be undone, when only a session and a
        transaction of its own can tell what becomes of it.
        """
        session, account = self.session, self._account
        self._commits.end_record()
        if account.effect is not Effect.LEFT and self._is_intact and self._stopped is None:
            if session._put_off:
                session._put_off.end_record(session.entry.id, self._new_rows.tables_aside())
            self._new_rows.keep(session, session.entry.id, pure=account.effect is Effect.NONE)
            if self._has_to_flush():
                self._flush_record()
        self.end_record()
        if account.effect is Effect.SQL and session._connection_at_hand is not None and self._is_intact:
            session._deferred_constraints.check(session._connected())
        if account.effect is Effect.LEFT or not self._is_intact:
            return False
        if self._listeners != count_listeners() and self._hears() != self._heard:
            return False
        self.has_kept = True
        return True

    def forget_record(self) -> bool:
        """Take what the record did to the session back; return whether that undoes the record entirely.

        It does when the record sent no SQL.
        """
        self._new_rows.forget_aside()
        self._new_rows.forget_rows(self.session.entry.id)
        self.session._put_off.statements.leave_out([self.session.entry.id])
        if self._account.effect is not Effect.NONE or not self._is_intact:
            return False
        Session.expunge_all(self.session)
        return True

    @property
    def has_only_rows(self) -> bool:
        """True if the transaction consists of buffered rows only and nothing has been sent to PostgreSQL."""
        session: Any = self.session
        is_untouched = session._connection_at_hand is None and self._account.effect < Effect.SPOILED
        return is_untouched and self._new_rows.are_pure and not (deleted_in(session) or session.identity_map)

    @property
    def unwritten(self) -> list[tuple[str, object]]:
        """The objects whose rows are not written yet, each with the id of the entry whose record added it."""
        return self._new_rows.unwritten

    def leave_out(self, entry_ids: Container[str]) -> None:
        """Let go of the rows of records that are not to be written after all."""
        self._new_rows.leave_out(entry_ids)
        self.session._put_off.statements.leave_out(entry_ids)

    def start_writing(self) -> None:
        """Begin the COPY of kept records' rows, if nothing else is to be written; the commit waits for its end."""
        self._new_rows.start_writing(self.session)

    @property
    def has_started_writing(self) -> bool:
        """Whether the rows of kept records are sent, but not yet known to be written."""
        return self._new_rows.has_started_writing

    def commit_started(self, also: Callable[["psycopg.Connection[Any]"], object]) -> None:
        """Write the rows that are sent, do `also`, and commit; whatever raises, it is as if nothing had been sent.

        Raises psycopg's errors as they are.
        """
        self._new_rows.commit_started(self.session, also)

    def write(self) -> dict[str, Exception]:
        """Write what the records did, but for rows whose record cannot be written; return why, by entry id.

        Raises what is no single record's doing, and what cannot be undone by leaving out rows.
        """
        failed = self._new_rows.write_those_of_the_good(self.session)
        self.session._put_off.send()
        return failed

    @property
    def culprit(self) -> str | None:
        """The entry whose statement has failed when it went with others."""
        return self.session._put_off.statements.culprit

    def commit(self) -> None:
        """Commit."""
        Session.commit(self.session)

    def discard(self) -> None:
        """Let go of the transaction and of everything in the session; neither is used after that."""
        self._stopped = self._before_first = None
        super().discard()
        self._root = None

    @property
    def _is_intact(self) -> bool:
        """Whether the transaction is still open, whole, and not waiting for a rollback."""
        session, effect = self.session, self._account.effect
        if self._failures.count != self._failed_before:
            return False
        if effect is Effect.NONE:
            return root_transaction(session) is self._root
        if effect is Effect.SPOILED or session.get_transaction() is not self._root or not session.is_active:
            return False
        return session.get_nested_transaction() is None and not self.aborted

    def _has_to_flush(self) -> bool:
        session: Any = self.session
        return bool(self._new_rows.ordinary or deleted_in(session) or session.identity_map.check_modified())

    def _flush_record(self) -> None:
        """Do what the record's own commit would have done, but for the end of the transaction."""
        for _ in range(_MOST_FLUSHES):
            if not self._has_to_flush():
                break
            self.session.flush()
        else:
            raise FlushError(f"a listener leaves something to flush after {_MOST_FLUSHES} flushes")
        if self.session.expire_on_commit:
            self.session.expire_all()

    def _hears(self) -> list[int]:
        """Return how many listeners the session has for each of its events."""
        dispatch: Any = self.session.dispatch
        return [len(getattr(dispatch, name)) for name in _EVENTS]

    # What its record asks for

    def before_statement(self, clause: Any = None) -> None:
        """Call `before_first`, and write what earlier records left unless `clause` cannot meet it."""
        self._commits.refuse_more()
        self.start()
        put_off = self.session._put_off
        if not self._new_rows.is_writing and (self._new_rows.rows or put_off) and not put_off.is_apart_from(clause):
            self._account.note(Effect.SQL)
            self.session._write_rows()

    def put_off(self, statement: Any, given: Any) -> Any:
        """Have a statement wait, unless the record has begun a savepoint."""
        if self._account.effect >= Effect.SPOILED or root_transaction(self.session) is not self._root:
            return None
        self._commits.refuse_more()
        return self.session._put_off.take(statement, given)

    def on_commit(self) -> None:
        """Write what the record has done, or stop it."""
        self._commits.commit()

    def on_rollback(self) -> None:
        """Forget what the record has done, or stop it."""
        self._commits.rollback()

    def _leave(self, *_: Any, **__: Any) -> NoReturn:
        """Stop the record."""
        self._account.note(Effect.LEFT)
        raise OwnTransactionRequired

    on_begin = on_close = on_reset = on_expunge_all = on_invalidate = on_prepare = _leave
    on_options = on_changed_statement = on_driver = on_unshared_statement = _leave

    def on_connection_commit(self) -> None:
        """Stop the record; the connection is of no more use."""
        self._is_half_ended = True
        self._leave()
