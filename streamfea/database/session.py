"""The session that handlers get, which many records share without noticing.

A transaction commits the work of a whole batch, yet every record must see, and suffer, what it would with a
transaction of its own. So the session keeps account of what the record at hand has done: has it sent SQL, which
objects has it added, is the transaction still the one that was opened. `streamfea.work.runner` decides from these
what may be kept.
"""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar
from weakref import WeakKeyDictionary, ref

from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, event, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, SessionTransaction, sessionmaker

from streamfea.database.bulk import Plans
from streamfea.database.chunks import ChunkedQuery
from streamfea.database.driver import status_of
from streamfea.database.enclosing import EnclosingSession, TransactionAborted
from streamfea.database.noting import NotingSession
from streamfea.entry import Entry

__all__ = ["DbSession", "OwnTransactionRequired", "StartAgain", "TransactionAborted", "open_sessions"]

T = TypeVar("T")

# What a handler may listen to that happens when a transaction ends; `after_begin` has a listener of our own.
_EVENTS_OF_TRANSACTIONS = (
    "before_commit",
    "after_commit",
    "after_rollback",
    "after_soft_rollback",
    "after_transaction_create",
    "after_transaction_end",
)


def open_sessions(engine: Engine, *, bulk: bool = True) -> "sessionmaker[DbSession]":
    """Return a factory of sessions on `engine`, which notice whatever is done to their connection.

    With `bulk`, they write new rows by COPY wherever that makes no difference but to speed.
    """
    event.listen(engine, "before_cursor_execute", _note_statement)
    event.listen(engine, "commit", _note_commit)
    event.listen(engine, "rollback", _note_rollback)
    event.listen(engine, "savepoint", _note_savepoint)
    return sessionmaker(engine, class_=DbSession, plans=Plans() if bulk else None)


class OwnTransactionRequired(BaseException):
    """Stops a handler that wants to end the transaction, or leave it, while others' writes are in it.

    Not an `Exception`, so that a handler's `except Exception` does not hide it.
    """


class StartAgain(BaseException):
    """Stops a handler that asks for the database when its batch has to start again first.

    Not an `Exception`, so that a handler's `except Exception` does not hide it.
    """


class DbSession(NotingSession, EnclosingSession):
    """A SQLAlchemy session; `entry` is the stream entry whose record is being processed.

    Use it as any other session: what `process()` adds is committed when it returns, and rolled back when it raises.
    Queries see what the records before have written, as if each had been committed. In `process_batch()`, `entries`
    are those of all its records.
    """

    entry: Entry
    entries: tuple[Entry, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shared: SessionTransaction | None = None
        self._savepoint: SessionTransaction | None = None
        self._in_record = False
        self._touched = False
        self._spoiled = False
        self._left = False
        self._half_ended = False
        self._writes = False
        self._unwritten: list[tuple[str, object]] = []
        self._added: list[object] = []
        self._connection: Connection | None = None
        self._before_first: Callable[[], object] | None = None
        self._stopped: BaseException | None = None
        self.kept_records = False

    # What streamfea.work.runner asks

    def share(self, before_first: Callable[[], object] | None = None) -> None:
        """Open the transaction that several records will share.

        `before_first` is called before PostgreSQL is sent anything in it. What that raises ends the record at hand,
        whose `end_record()` raises it again if the handler has hidden it.
        """
        self._shared = self.begin()
        self._before_first = before_first
        self.start_noting()

    def start(self) -> None:
        """Do now what comes before the first statement, unless that is done."""
        before_first, self._before_first = self._before_first, None
        if before_first is None:
            return
        # Not the record's doing: what earlier records left is not to be written for it.
        in_record, self._in_record = self._in_record, False
        try:
            before_first()
        except BaseException as stopped:
            self._stopped = stopped
            raise
        finally:
            self._in_record = in_record

    def start_without(self) -> None:
        """Take what comes before the first statement for done."""
        self._before_first = None

    @property
    def has_only_rows(self) -> bool:
        """Whether nothing is left to do but to write the rows of kept records, of which PostgreSQL knows nothing yet.

        And whether nobody listens to the session, who might rely on being called in the handler's thread.
        """
        dispatch: Any = self.dispatch
        observed = any(getattr(dispatch, name) for name in _EVENTS_OF_TRANSACTIONS) or len(dispatch.after_begin) > 1
        untouched = self._connection is None and not self._unwritten and not self._spoiled
        return untouched and not observed and self.holds_only_rows

    def begin_batch(self, entries: Sequence[Entry]) -> None:
        """Start what `process_batch()` does with the records of `entries`."""
        self.entries = tuple(entries)
        if len(entries) == 1:
            self.entry = entries[0]
        self.start_inside()
        self.start_noting()
        self._in_record = True

    def commit_whole(self) -> None:
        """Commit what a record, or a batch, did in a transaction of its own.

        Raises `TransactionAborted` when PostgreSQL would silently roll back instead.
        """
        self.end_record()
        if self.aborted:
            raise TransactionAborted("an SQL error aborted the transaction, and the handler went on as if nothing were")
        if self.has_ended or (self._enclosing is not None and (self._spoiled or self._half_ended)):
            raise TransactionAborted("the handler ended the transaction, which exactly-once does not allow")
        self.keep_noted("", pure=False)
        self.commit()

    def discard(self) -> None:
        """Let go of the transaction and of everything in the session; it is not used after that."""
        self._in_record = False
        self._rows.clear()
        try:
            super().invalidate() if self._half_ended else super().close()
        except SQLAlchemyError:  # the connection is gone, and with it whatever the session held
            super().invalidate()

    def begin_suspect(self, entry: Entry) -> None:
        """Start `entry`'s record behind a savepoint, with nobody else's unwritten work in the session.

        Raises what the flush of the earlier records' work raises.
        """
        self.flush()
        self.expunge_all()
        self._unwritten.clear()
        self._savepoint = self.begin_nested()
        self.begin_record(entry)

    def keep_suspect(self) -> bool:
        """End the suspect's record, write what it did and release its savepoint; raises what the flush raises.

        Returns False when only a transaction of its own can tell what becomes of it.
        """
        self.end_record()
        if self._left or not self.intact:
            return False
        if self._savepoint is not None:
            self._savepoint.commit()
        self._savepoint = None
        self._added.clear()
        self.kept_records = True
        return True

    def forget_suspect(self) -> bool:
        """Roll back to the suspect's savepoint; return whether that undoes its record entirely."""
        savepoint, self._savepoint = self._savepoint, None
        self._added.clear()
        self.forget_noted()
        if savepoint is None or self._spoiled or self._left or self.get_nested_transaction() is not savepoint:
            return False
        savepoint.rollback()
        return self.intact

    def begin_record(self, entry: Entry) -> None:
        """Start `entry`'s record with nothing in the identity map, as in a session of its own.

        Raises what the flush raises when the earlier records left changes of loaded objects behind.
        """
        if self._shared is not None and (self.identity_map._dict or self._deleted):
            if self._unwritten or self._deleted or self.identity_map.check_modified():
                self.flush()
            self.expunge_all()
            self._unwritten.clear()
        self.entry = entry
        self.autoflush = True
        self._touched = self._spoiled = self._left = False
        if self._enclosing is not None:
            self.start_inside()
        self._in_record = True

    def end_record(self) -> None:
        """Note that the record's code has run: what is called from now on is streamfea's own doing."""
        self._in_record = False
        if self._stopped is not None:
            raise self._stopped

    def keep_record(self) -> bool:
        """End the record, and leave what it added in the session, to be written with the others'.

        Returns False, and leaves it to be undone, when only a transaction of its own can tell what becomes of it.
        """
        self.end_record()
        if self._left or not self.intact:
            return False
        if self._noted:
            self._added += self.keep_noted(self.entry.id, pure=not self._touched)
        if self._added:
            self._unwritten.extend((self.entry.id, added) for added in self._added)
            self._added.clear()
        self.kept_records = True
        return True

    def forget_record(self) -> bool:
        """Take what the record added out of the session again; return whether that undoes the record entirely.

        It does when the record sent no SQL, changed no loaded object and added none that a relationship could tie
        to an object of another record.
        """
        self.forget_noted()
        added = list(self._added)
        self._added.clear()
        states = [inspect(one, raiseerr=False) for one in added]  # None: the handler has taken it from the object
        tied = any(state is None or state.mapper.relationships for state in states)
        if tied or self._touched or self._left or not self.intact or self.dirty or self.deleted:
            return False
        for one in added:
            if one in self:
                self.expunge(one)
        return True

    @property
    def wants_own_transaction(self) -> bool:
        """Whether the record tried to end or leave the shared transaction, even if it hid that it was stopped."""
        return self._left

    @property
    def intact(self) -> bool:
        """Whether the shared transaction is still open, whole, and not waiting for a rollback."""
        if not self._touched:
            return self._transaction is (self._savepoint or self._shared) and not self._spoiled
        if self._spoiled or self.get_transaction() is not self._shared or not self.is_active:
            return False
        return self.get_nested_transaction() is self._savepoint and not self.aborted

    @property
    def aborted(self) -> bool:
        """Whether PostgreSQL has given the transaction up after an SQL error: its COMMIT would silently roll back."""
        connection = self._connection
        if not self.in_transaction() or connection is None or connection.closed:
            return False  # nothing was sent yet; opening a connection here might fail, which is no SQL error
        return connection.invalidated or status_of(connection) not in (
            TransactionStatus.IDLE,
            TransactionStatus.INTRANS,
        )

    @property
    def lost(self) -> bool:
        """Whether the connection broke, even if the handler hid the error."""
        connection = self._connection
        if connection is None or connection.closed:
            return False
        return connection.invalidated or status_of(connection) is TransactionStatus.UNKNOWN

    @property
    def unwritten(self) -> list[tuple[str, object]]:
        """The new objects that nothing has written yet, each with the id of the entry whose record added it."""
        return [*((row.entry_id, row.instance) for row in self.rows), *self._unwritten]

    # What a handler may call, and what others' writes in the same transaction must be spared

    def commit(self) -> None:
        """Commit; the record gets a transaction of its own for it.

        With exactly-once, what was committed so far is kept by a later `rollback()`, and yet all that the record did
        is committed at its end, or nothing.
        """
        self._require_own_transaction()
        if self._is_enclosed:
            self.commit_inside()
        else:
            super().commit()

    def rollback(self) -> None:
        """Roll back what this record did since it began, or committed; it gets a transaction of its own for it."""
        self._require_own_transaction()
        if self._is_enclosed:
            self.roll_back_inside()
        else:
            super().rollback()

    def begin(self, nested: bool = False) -> SessionTransaction:
        """Begin a transaction, which the record then has for itself, or a savepoint."""
        if not nested:
            self._require_own_transaction()
            return super().begin(nested=self._is_enclosed)
        self.start()  # outside of the savepoint, which may be rolled back to
        if self._in_record and self._shared is not None:
            # Left to itself, rolling back to the savepoint would take others' objects along.
            self._flush_for_savepoint()
        return super().begin(nested=True)

    def close(self) -> None:
        """Release everything in the session; the record gets a session of its own for it."""
        self._require_own_transaction()
        if self._is_enclosed:
            self.roll_back_inside()
            super().expunge_all()
        else:
            super().close()

    def reset(self) -> None:
        """Release everything in the session; the record gets a session of its own for it."""
        if self._is_enclosed:
            self.close()
            return
        self._require_own_transaction()
        super().reset()

    def invalidate(self) -> None:
        """Close the session and its connections; the record gets a session of its own for it."""
        self._require_own_transaction()
        self._refuse_when_enclosed("invalidate")
        super().invalidate()

    def expunge_all(self) -> None:
        """Remove every object from the session; the record gets a session of its own for it."""
        self._require_own_transaction()
        super().expunge_all()

    def prepare(self) -> None:
        """Prepare a two-phase commit; the record gets a transaction of its own for it."""
        self._require_own_transaction()
        self._refuse_when_enclosed("prepare")
        super().prepare()

    def flush(self, objects: Any = None) -> None:
        """Write all changes to the database.

        Objects of earlier records then leave the session, as committed ones would.
        """
        self._touched = True
        self._write_kept()
        self._writes = True
        try:
            super().flush(objects)
        finally:
            self._writes = False
        if self._in_record and self._shared is not None:
            self._release_written()

    def connection(self, *args: Any, **kwargs: Any) -> Connection:
        """Return the transaction's connection."""
        self._touched = True
        return super().connection(*args, **kwargs)

    def get_bind(self, *args: Any, **kwargs: Any) -> Engine | Connection:
        """Return what a statement is to be sent to; what earlier records have added is written before."""
        self.start()
        if self._in_record and not self._writes and (self._unwritten or self._rows):
            self._write_earlier()
        return super().get_bind(*args, **kwargs)

    def chunked_query(self, model: type[T], chunk_size: int = 5000) -> ChunkedQuery[T]:
        """Return queries of `chunk_size` rows each, for reading a table of any size in flat memory."""
        return ChunkedQuery(self, model, chunk_size)

    # Inside

    @property
    def _is_enclosed(self) -> bool:
        return self._enclosing is not None and self._in_record

    def _refuse_when_enclosed(self, what: str) -> None:
        if self._is_enclosed:
            raise TransactionAborted(f"exactly-once does not allow a handler to {what} the transaction")

    def _write_earlier(self) -> None:
        """Write earlier records' objects, and only these, for a statement that does not flush by itself."""
        self._touched = True
        self._write_kept()
        if not self._unwritten:
            return
        if self._added or self._noted or self.dirty or self.deleted:
            self._leave()
        self.flush()

    def _write_kept(self) -> None:
        """Write the rows of earlier records."""
        self._writes = True
        try:
            self.write_rows()
        except Exception:
            self._spoiled = True
            raise
        finally:
            self._writes = False

    def _connected(self) -> Connection:
        """Return the transaction's connection without taking account: it is not the record that asks."""
        before, self._writes = self._writes, True
        try:
            return Session.connection(self)
        finally:
            self._writes = before

    def _require_own_transaction(self) -> None:
        if self._in_record and self._shared is not None:
            self._leave()

    def _leave(self) -> NoReturn:
        self._left = True
        raise OwnTransactionRequired

    def _flush_for_savepoint(self) -> None:
        try:
            self.flush()
        except Exception:
            self._spoiled = True
            raise

    def _release_written(self) -> None:
        """Let go of what earlier records added and this flush wrote: a query must load it afresh, as after a commit."""
        remaining = []
        for entry_id, added in self._unwritten:
            state = inspect(added, raiseerr=False)
            if state is not None and state.persistent:
                self.expunge(added)
            elif state is not None and state.pending:
                remaining.append((entry_id, added))
        self._unwritten = remaining


# The session whose transaction runs on a connection; weak both ways, since a session holds its connection.
_sessions: "WeakKeyDictionary[Connection, ref[DbSession]]" = WeakKeyDictionary()


@event.listens_for(DbSession, "transient_to_pending")
def _note_added(session: Session, added: object) -> None:
    if isinstance(session, DbSession) and session._in_record:
        session._added.append(added)


@event.listens_for(DbSession, "after_begin")
def _note_connection(session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    if isinstance(session, DbSession):
        _sessions[connection] = ref(session)
        session._connection = connection


def _session_on(connection: Connection) -> DbSession | None:
    reference = _sessions.get(connection)
    return reference() if reference is not None else None


def _note_statement(connection: Connection, *_: Any) -> None:
    session = _session_on(connection)
    if session is not None:
        session._touched = True


def _note_commit(connection: Connection) -> None:
    """Stop a handler that commits by the connection, behind its session's back."""
    session = _session_on(connection)
    if session is not None and session._in_record:
        # SQLAlchemy takes the transaction for ended although the server was never told: this connection is of no more
        # use, and whoever got it next would go on in the same transaction.
        session._half_ended = True
        session._require_own_transaction()
        session._refuse_when_enclosed("commit its connection, past")
        session._half_ended = False


def _note_rollback(connection: Connection) -> None:
    session = _session_on(connection)
    if session is not None:
        session._spoiled = True


def _note_savepoint(connection: Connection, _name: str) -> None:
    """Stop a handler that sets a savepoint by the connection, to which others' unwritten work could be rolled back."""
    session = _session_on(connection)
    if session is not None and session._unwritten:
        session._require_own_transaction()
