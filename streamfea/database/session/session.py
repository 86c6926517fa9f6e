"""The session of handlers: SQLAlchemy's, which asks the current transaction before it would end it."""

from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, UpdateBase, event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, SessionTransaction, sessionmaker

from streamfea.core.entry import Entry
from streamfea.database.connection.deferred import DeferredConstraints
from streamfea.database.connection.failures import begin_failures
from streamfea.database.copy.plans import Plans
from streamfea.database.session.account import Account, Effect
from streamfea.database.session.chunks import ChunkedQuery
from streamfea.database.session.connection import listen_to, note_connection
from streamfea.database.session.enclosed import EnclosedTransaction
from streamfea.database.session.new_rows import NewRows
from streamfea.database.session.own import OwnTransaction
from streamfea.database.session.put_off import Known, PutOff
from streamfea.database.session.shared import SharedTransaction
from streamfea.orm.internals import is_known

__all__ = ["DbSession", "Sessions", "open_sessions"]

T = TypeVar("T")


def open_sessions(engine: Engine, *, bulk: bool = True) -> "Sessions":
    """Return what opens sessions on `engine`, which notice whatever is done to their connection.

    They write the new rows of many records together wherever that makes no difference but to speed: by COPY, or without
    `bulk` by INSERT.
    """
    listen_to(engine)
    return Sessions(engine, Plans(by_copy=bulk) if is_known() else None)


class DbSession(Session):
    """A SQLAlchemy session; `entry` is the stream entry whose record is being processed.

    Use it as any other session: what `process()` adds is committed when it returns, and rolled back when it raises.
    Queries see what the records before have written, as if each had been committed. In `process_batch()`, `entries`
    are those of all its records.
    """

    entry: Entry
    entries: tuple[Entry, ...] = ()

    def __init__(
        self,
        *args: Any,
        plans: Plans | None = None,
        deferred: DeferredConstraints | None = None,
        known: Known | None = None,
        **kwargs: Any,
    ) -> None:
        self._new_rows = NewRows(plans)
        self._put_off = PutOff(self, known)
        super().__init__(*args, **kwargs)
        self._account = Account()
        self._deferred_constraints = deferred or DeferredConstraints()
        # The transaction of the record that runs; None while it is streamfea that uses the session.
        self._at_hand: OwnTransaction | None = None
        self._connection_at_hand: Connection | None = None
        self._waits_for_locks_less = False
        self._info: dict[Any, Any] = {}

    @property
    def info(self) -> dict[Any, Any]:
        """A dictionary for whatever the handler and its listeners want to find there; empty for every record."""
        return self._info

    def chunked_query(self, model: type[T], chunk_size: int = 5000) -> ChunkedQuery[T]:
        """Return queries of `chunk_size` rows each, for reading a table of any size in flat memory."""
        return ChunkedQuery(self, model, chunk_size)

    def add(self, instance: object, *, _warn: bool = True) -> None:
        """Add an object, which is committed with its record."""
        if not self._new_rows.take(instance, self):
            super().add(instance, _warn=_warn)

    if not TYPE_CHECKING:  # SQLAlchemy's own signatures are for users to see

        def execute(self, statement: Any, params: Any = None, **kwargs: Any) -> Any:
            """Execute a statement; one whose result nobody looks at may wait for others of its batch."""
            if self._at_hand is None or kwargs or not isinstance(statement, UpdateBase):
                return super().execute(statement, params, **kwargs)
            result = self._at_hand.put_off(statement, params)
            if result is None:
                result = super().execute(statement, params)
                self._put_off.end_watching()
            return result

    def flush(self, objects: Any = None) -> None:
        """Write all changes to the database."""
        if self._at_hand is not None and self._put_off.has_nothing_to_flush:
            return
        self._account.note(Effect.SQL)
        self._write_rows()
        with self._new_rows.writing():
            try:
                super().flush(objects)
            except IntegrityError as error:
                self._account.refused = error
                raise

    def commit(self) -> None:
        """Commit; the record gets a transaction of its own for it.

        With exactly-once, what was committed so far is kept by a later `rollback()`, and yet all that the record did
        is committed at its end, or nothing.
        """
        self._at_hand.on_commit() if self._at_hand is not None else super().commit()

    def rollback(self) -> None:
        """Roll back what this record did since it began, or committed; it gets a transaction of its own for it."""
        self._at_hand.on_rollback() if self._at_hand is not None else super().rollback()
        self._account.refused = None

    def begin(self, nested: bool = False) -> SessionTransaction:
        """Begin a transaction, which the record then has for itself, or a savepoint."""
        if self._at_hand is None:
            return super().begin(nested=nested)
        if not nested:
            return self._at_hand.on_begin()
        self._at_hand.before_statement()  # outside of the savepoint, which may be rolled back to
        return super().begin(nested=True)

    def close(self) -> None:
        """Release everything in the session; the record gets a session of its own for it."""
        self._at_hand.on_close() if self._at_hand is not None else super().close()

    def reset(self) -> None:
        """Release everything in the session; the record gets a session of its own for it."""
        self._at_hand.on_reset() if self._at_hand is not None else super().reset()

    def invalidate(self) -> None:
        """Close the session and its connections; the record gets a session of its own for it."""
        self._at_hand.on_invalidate() if self._at_hand is not None else super().invalidate()

    def expunge_all(self) -> None:
        """Remove every object from the session; the record gets a session of its own for it."""
        self._at_hand.on_expunge_all() if self._at_hand is not None else super().expunge_all()

    def prepare(self) -> None:
        """Prepare a two-phase commit; the record gets a transaction of its own for it."""
        self._at_hand.on_prepare() if self._at_hand is not None else super().prepare()

    def connection(self, *args: Any, **kwargs: Any) -> Connection:
        """Return the transaction's connection; with options for it, the record gets a transaction of its own."""
        is_first = self._account.effect is Effect.NONE
        self._account.note(Effect.SQL)
        options = kwargs.get("execution_options") or (args[1] if len(args) > 1 else None)
        if options and self._at_hand is not None:
            self._at_hand.on_options()
            # A connection that was made for streamfea's own sake would ignore them.
            if self._at_hand.has_connection or (is_first and self._connection_at_hand is not None):
                return super().connection(kwargs.get("bind_arguments")).execution_options(**options)
        return super().connection(*args, **kwargs)

    def get_bind(self, *args: Any, **kwargs: Any) -> Engine | Connection:
        """Return what a statement is to be sent to; what earlier records have added is written before."""
        if self._at_hand is not None:
            if kwargs.get("bind") is not None:
                self._at_hand.on_options()
            self._at_hand.before_statement(kwargs.get("clause"))
        return super().get_bind(*args, **kwargs)

    @property
    def _new(self) -> dict[Any, object]:
        """Where SQLAlchemy keeps new objects."""
        return self._new_rows.all_new(self)

    @_new.setter
    def _new(self, states: dict[Any, object]) -> None:
        self._new_rows.replace_ordinary(states)

    def _connected(self) -> Connection:
        """Return the transaction's connection without an entry in the record's account."""
        with self._new_rows.writing():
            return super().connection()

    def _write_rows(self) -> None:
        """Send the statements that wait, and write the rows of records that have ended."""
        with self._new_rows.writing():
            try:
                self._put_off.send()
                self._new_rows.write(self)
            except Exception:
                self._account.note(Effect.SPOILED)
                raise


class Sessions:
    """Opens sessions on an engine, each with the kind of transaction that its records run in."""

    def __init__(self, engine: Engine, plans: Plans | None) -> None:
        self.engine = engine
        self._failures = begin_failures(engine)
        # SQLAlchemy's, which listeners can be told of.
        known = Known() if is_known() else None
        self.factory = sessionmaker(engine, class_=DbSession, plans=plans, deferred=DeferredConstraints(), known=known)

    def __call__(self) -> DbSession:
        """Return a session of no record."""
        return self.factory()

    def shared(self) -> SharedTransaction:
        """Return a transaction for many records."""
        return SharedTransaction(self(), self._failures)

    def own(self) -> OwnTransaction:
        """Return a transaction that one record, or one `process_batch()`, may end."""
        return OwnTransaction(self(), self._failures)

    def enclosed(self) -> EnclosedTransaction:
        """Return a transaction for one record, or one `process_batch()`, and the note that it is done."""
        return EnclosedTransaction(self(), self._failures)


event.listen(DbSession, "after_begin", note_connection)
