"""The session that handlers get, which many records share without noticing.

A transaction commits the work of a whole batch, yet every record must see, and suffer, what it would with a
transaction of its own. So nothing of an earlier record is left in the session when the next begins: new rows that COPY
can write are set aside, and everything else is flushed at the end of its own record. And the session keeps account of
what the record at hand has done: has it sent SQL, is the transaction still the one that was opened.
`streamfea.worker.transaction` decides from these what may be kept.
"""

import sys
from collections.abc import Callable, Sequence
from inspect import isfunction
from typing import Any, NoReturn, TypeVar
from weakref import WeakKeyDictionary, ref

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, event
from sqlalchemy.event import registry
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session, SessionEvents, SessionTransaction, sessionmaker
from sqlalchemy.orm.exc import FlushError
from sqlalchemy.sql.elements import ReleaseSavepointClause, RollbackToSavepointClause, SavepointClause

from streamfea.core.entry import Entry
from streamfea.database.connection.deferred import DeferredConstraints
from streamfea.database.connection.driver import driver_of, status_of
from streamfea.database.copy.plans import Plans
from streamfea.database.session.chunks import ChunkedQuery
from streamfea.database.session.nested import EnclosingSession, TransactionAborted
from streamfea.database.session.new_rows import NotingSession
from streamfea.database.session.statements import may_be_shared, reason_against_enclosing
from streamfea.model import remember

__all__ = ["DbSession", "OwnTransactionRequired", "StartAgain", "TransactionAborted", "open_sessions"]

T = TypeVar("T")

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
_SAVEPOINT_STATEMENTS = (SavepointClause, RollbackToSavepointClause, ReleaseSavepointClause)
# As many flushes as a commit does until listeners leave nothing to flush (SQLAlchemy, `Session.commit`).
_MOST_FLUSHES = 100


def open_sessions(engine: Engine, *, bulk: bool = True) -> "sessionmaker[DbSession]":
    """Return a factory of sessions on `engine`, which notice whatever is done to their connection.

    With `bulk`, they write new rows by COPY wherever that makes no difference but to speed.
    """
    event.listen(engine, "before_cursor_execute", _note_statement)
    event.listen(engine, "commit", _note_commit)
    event.listen(engine, "rollback", _note_rollback)
    private: Any = engine
    private._connection_cls = RecordConnection
    return sessionmaker(engine, class_=DbSession, plans=Plans() if bulk else None, deferred=DeferredConstraints())


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

    def __init__(self, *args: Any, deferred: DeferredConstraints | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deferred_constraints = deferred or DeferredConstraints()
        self._shared: SessionTransaction | None = None
        self._savepoint: SessionTransaction | None = None
        self._in_record = False
        self._touched = False
        self._spoiled = False
        self._left = False
        self._half_ended = False
        self._writes = False
        self._refused: IntegrityError | None = None
        self._info: dict[Any, Any] = {}
        self._connection: Connection | None = None
        self._driver: psycopg.Connection[Any] | None = None
        self._before_first: Callable[[], object] | None = None
        self._stopped: BaseException | None = None
        self._listeners = 0
        self._heard: list[int] = []
        self.kept_records = False
        self._attributes: frozenset[str] = frozenset()

    # What streamfea.worker.transaction asks

    def share(self, before_first: Callable[[], object] | None = None) -> None:
        """Open the transaction that several records will share.

        `before_first` is called before PostgreSQL is sent anything in it. What that raises ends the record at hand,
        whose `end_record()` raises it again if the handler has hidden it.
        """
        self._shared = self.begin()
        self._before_first = before_first
        self.start_noting()
        self._listeners, self._heard = count_listeners(), self._hears()
        self._attributes = frozenset(self.__dict__)

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
    def hears_its_own(self) -> bool:
        """Whether somebody listens for what happens to a session that a record has to itself."""
        dispatch: Any = self.dispatch
        return any(getattr(dispatch, name) for name in _OWN_EVENTS) or len(dispatch.after_begin) > 1

    @property
    def has_only_rows(self) -> bool:
        """Whether nothing is left to do but to write rows of kept records, of which PostgreSQL knows nothing yet."""
        return self._connection is None and not self._spoiled and self.holds_only_rows

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

        Raises `TransactionAborted` when PostgreSQL would silently roll back instead. A handler that returns although
        its own flush or commit has met an `IntegrityError` takes that for no failure, but for a record that is in
        already: what it did since its last commit is rolled back, and that is all.
        """
        self.end_record()
        is_refused = self._refused is not None and not self.is_active
        if self.aborted and not is_refused:
            raise TransactionAborted("an SQL error aborted the transaction, and the handler went on as if nothing were")
        if self.has_ended or (self._enclosing is not None and (self._spoiled or self._half_ended)):
            raise TransactionAborted("the handler ended the transaction, which exactly-once does not allow")
        if is_refused:
            self.roll_back_inside() if self._enclosing is not None else super().rollback()
        self.keep_noted("", pure=False)
        self._write_kept()  # a commit takes a session that holds nothing else for clean, and would not flush
        self.commit_enclosing() if self._enclosing is not None else self.commit()

    def discard(self) -> None:
        """Let go of the transaction and of everything in the session; it is not used after that."""
        self._in_record = False
        self._let_driver_end()
        self._rows.clear()
        try:
            super().invalidate() if self._half_ended else super().close()
        except SQLAlchemyError:  # the connection is gone, and with it whatever the session held
            super().invalidate()
        # A session and its transactions refer to each other until the collector looks, which may be many records later.
        self.__dict__.pop("entry", None)
        self.entries = ()
        self._before_first = self._shared = self._savepoint = None

    def begin_suspect(self, entry: Entry) -> None:
        """Start `entry`'s record behind a savepoint, with nobody else's unwritten work in the session.

        Raises what writing the earlier records' rows raises.
        """
        self.start()
        self._touched = True
        self._write_kept()
        self.expunge_all()
        self._savepoint = self.begin_nested()
        self.begin_record(entry)

    def keep_suspect(self) -> bool:
        """End the suspect's record, write what it did and release its savepoint; raises what the flush raises.

        Returns False when only a transaction of its own can tell what becomes of it.
        """
        if not self.keep_record():
            return False
        self._write_kept()
        if self._savepoint is not None:
            self._savepoint.commit()
        self._savepoint = None
        return True

    def forget_suspect(self) -> bool:
        """Roll back to the suspect's savepoint; return whether that undoes its record entirely."""
        savepoint, self._savepoint = self._savepoint, None
        self.forget_noted()
        if savepoint is None or self._spoiled or self._left or self.get_nested_transaction() is not savepoint:
            return False
        savepoint.rollback()
        return self.intact

    def begin_record(self, entry: Entry) -> None:
        """Start `entry`'s record in a session that is as good as new."""
        if self._shared is not None:
            if self.identity_map._dict:
                self.expunge_all()
            if len(self.__dict__) != len(self._attributes):
                self._forget_attributes()
            self.expire_on_commit = True
        if self._info:
            self._info = {}
        self.entry = entry
        self.autoflush = True
        self._touched = self._spoiled = self._left = False
        if self._enclosing is not None:
            self.start_inside()
        self._in_record = True

    def end_record(self) -> None:
        """Note that the record's code has run: what is called from now on is streamfea's own doing."""
        self._in_record = False
        self._let_driver_end()
        if self._stopped is not None:
            raise self._stopped

    def keep_record(self) -> bool:
        """End the record: set the new rows aside that are written with the others', and flush all else that it did.

        Raises what the flush raises. Returns False, and leaves the record to be undone, when only a session and a
        transaction of its own can tell what becomes of it.
        """
        if not self._left and self.intact and self._stopped is None:
            if self._noted:
                self.keep_noted(self.entry.id, pure=not self._touched)
            if self._ordinary or self._deleted or self.identity_map.check_modified():
                self._flush_record()
        self.end_record()
        if self._touched and self._connection is not None and not self._left and self.intact:
            self._deferred_constraints.check(self._connected())
        if self._left or not self.intact or (self._listeners != count_listeners() and self._hears() != self._heard):
            return False
        self.kept_records = True
        return True

    def forget_record(self) -> bool:
        """Take what the record did to the session back; return whether that undoes the record entirely.

        It does when the record sent no SQL.
        """
        self.forget_noted()
        if self._touched or self._left or not self.intact:
            return False
        self.expunge_all()
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
        """The new objects whose rows are not written yet, each with the id of the entry whose record added it."""
        return [(row.entry_id, row.instance) for row in self.rows]

    # What a handler may call, and what others' writes in the same transaction must be spared

    @property
    def info(self) -> dict[Any, Any]:
        """A dictionary for whatever the handler and its listeners want to find there; empty for every record."""
        return self._info

    def commit(self) -> None:
        """Commit; the record gets a transaction of its own for it.

        With exactly-once, what was committed so far is kept by a later `rollback()`, and yet all that the record did
        is committed at its end, or nothing.
        """
        self._require_own_transaction()
        if self._in_record:
            remember(self)
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
        self._refused = None

    def begin(self, nested: bool = False) -> SessionTransaction:
        """Begin a transaction, which the record then has for itself, or a savepoint."""
        if not nested:
            self._require_own_transaction()
            return super().begin(nested=self._is_enclosed)
        self.start()  # outside of the savepoint, which may be rolled back to, as are earlier records' rows
        if self._in_record and self._shared is not None and self._rows:
            self._write_earlier()
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
        """Write all changes to the database."""
        self._touched = True
        self._write_kept()
        self._writes = True
        try:
            super().flush(objects)
        except IntegrityError as error:
            self._refused = error
            raise
        finally:
            self._writes = False

    def connection(self, *args: Any, **kwargs: Any) -> Connection:
        """Return the transaction's connection; with options for it, the record gets a transaction of its own."""
        self._touched = True
        options = kwargs.get("execution_options") or (args[1] if len(args) > 1 else None)
        if options and self._in_record:
            self._require_own_transaction()
            if self._enclosing is not None:  # it has a connection already, which would ignore them
                return super().connection(kwargs.get("bind_arguments")).execution_options(**options)
        return super().connection(*args, **kwargs)

    def get_bind(self, *args: Any, **kwargs: Any) -> Engine | Connection:
        """Return what a statement is to be sent to; what earlier records have added is written before."""
        if kwargs.get("bind") is not None:
            self._require_own_transaction()
        self.start()
        if self._in_record and not self._writes and self._rows:
            self._write_earlier()
        return super().get_bind(*args, **kwargs)

    def chunked_query(self, model: type[T], chunk_size: int = 5000) -> ChunkedQuery[T]:
        """Return queries of `chunk_size` rows each, for reading a table of any size in flat memory."""
        return ChunkedQuery(self, model, chunk_size)

    # Inside

    @property
    def _is_enclosed(self) -> bool:
        return self._enclosing is not None and self._in_record

    def keep_driver_from_ending(self, driver: "psycopg.Connection[Any]") -> None:
        """Have the driver's own `commit()` and `rollback()` raise until the record ends, for the ledger's sake."""
        self._driver = driver
        driver.commit = driver.rollback = _refuse_to_end  # type: ignore[method-assign]  # of this one connection

    def _let_driver_end(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            del driver.commit, driver.rollback

    def _refuse_when_enclosed(self, what: str) -> None:
        if self._is_enclosed:
            raise TransactionAborted(f"exactly-once does not allow a handler to {what} the transaction")

    def _hears(self) -> list[int]:
        """Return how many listeners the session has for each of its events."""
        dispatch: Any = self.dispatch
        return [len(getattr(dispatch, name)) for name in _EVENTS]

    def _flush_record(self) -> None:
        """Do what the record's own commit would have done, but for the end of the transaction."""
        for _ in range(_MOST_FLUSHES):
            if not (self._ordinary or self._deleted or self.identity_map.check_modified()):
                break
            self.flush()
        else:
            raise FlushError(f"a listener leaves something to flush after {_MOST_FLUSHES} flushes")
        if self.expire_on_commit:
            self.expire_all()

    def _forget_attributes(self) -> None:
        """Take away what the record before has set on the session beside SQLAlchemy's own attributes."""
        for name in self.__dict__.keys() - self._attributes:
            del self.__dict__[name]

    def _write_earlier(self) -> None:
        """Write earlier records' rows for a statement that does not flush by itself."""
        self._touched = True
        self._write_kept()

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


class RecordConnection(Connection):
    """The connection of a session, which gives a record a transaction of its own when it asks for the driver's.

    What is done to the driver's connection goes past SQLAlchemy, and nobody could tell whose work it ends.
    """

    @property
    def connection(self) -> Any:
        """The pooled connection of the driver."""
        session = _session_on(self)
        if session is not None and session._in_record and not _is_own(sys._getframe(1).f_globals["__name__"]):
            session._touched = True
            session._require_own_transaction()
            if session._is_enclosed:
                session.keep_driver_from_ending(driver_of(self))
        return super().connection

    def execution_options(self, **options: Any) -> Connection:
        """Set options, such as a map of schemas, for the record only."""
        session = _session_on(self)
        if session is not None:
            session._require_own_transaction()
        return super().execution_options(**options)


def _is_own(module: str) -> bool:
    """Tell whether it is not the handler, nor a library of its, that asks."""
    return module.startswith(("sqlalchemy.", "streamfea."))


def _refuse_to_end() -> NoReturn:
    raise TransactionAborted("the handler ended the transaction by the driver, which exactly-once does not allow")


def count_listeners() -> int:
    """Return how many listeners SQLAlchemy has for anything: while that stays the same, nobody has begun to listen."""
    return len(registry._key_to_collection)


# The session whose transaction runs on a connection; weak both ways, since a session holds its connection.
_sessions: "WeakKeyDictionary[Connection, ref[DbSession]]" = WeakKeyDictionary()


@event.listens_for(DbSession, "after_begin")
def _note_connection(session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    if isinstance(session, DbSession):
        _sessions[connection] = ref(session)
        session._connection = connection


def _session_on(connection: Connection) -> DbSession | None:
    reference = _sessions.get(connection)
    return reference() if reference is not None else None


def _note_statement(
    connection: Connection, _cursor: object, statement: str, _parameters: object, context: Any, _many: object
) -> None:
    """Stop a handler that sends what others' work in the transaction is not to share, or exactly-once cannot allow."""
    session = _session_on(connection)
    if session is None:
        return
    session._touched = True
    if session._in_record and not may_be_shared(statement) and not _is_savepoint(context):
        session.forget_plans()
        session._deferred_constraints.forget()
        session._require_own_transaction()
        if session._is_enclosed and (refused := reason_against_enclosing(statement)):
            raise TransactionAborted(refused)


def _is_savepoint(context: Any) -> bool:
    """Tell whether SQLAlchemy itself sends a statement about a savepoint, of which it keeps account."""
    return isinstance(getattr(context, "invoked_statement", None), _SAVEPOINT_STATEMENTS)


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
