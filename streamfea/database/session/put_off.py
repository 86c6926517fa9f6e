"""Has statements whose result nobody looks at wait for the others of their batch, and go in one pipeline.

A round trip to PostgreSQL, and SQLAlchemy's way there, is most of what such a statement costs. It waits where only its
time can tell: in a transaction that many records share, in the order of all other statements, and apart from new rows
only if neither can touch what the other does. Whoever looks at its result, queries or flushes makes it go. If it fails,
its record runs alone, where nothing waits.
"""

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, Table
from sqlalchemy.orm import Session

from streamfea.database.session.account import Effect
from streamfea.database.waiting.contents import Contents
from streamfea.database.waiting.footprints import EVERYTHING, Footprint, Footprints, is_of_one_table
from streamfea.database.waiting.forms import Bound, Form, Forms, Trust, Values
from streamfea.database.waiting.frozen import copied
from streamfea.database.waiting.lookups import Lookups
from streamfea.database.waiting.results import WaitingResult, is_held
from streamfea.database.waiting.statements import Waiting, WaitingStatements
from streamfea.orm.internals import count_listeners, deleted_in, holds_objects

if TYPE_CHECKING:
    from streamfea.database.session.session import DbSession

__all__ = ["Known", "PutOff"]


class Known:
    """What is known of a database's statements and tables; looked up once."""

    def __init__(self) -> None:
        self.forms = Forms()
        self.footprints = Footprints()
        self.lookups = Lookups()

    def forget(self) -> None:
        """Look all of it up anew: a name may stand for another table from now on."""
        self.forms.forget()
        self.footprints.forget()


class PutOff:
    """The statements of a session that wait; none do without `known`, and before `start()`."""

    def __init__(self, session: "DbSession", known: Known | None) -> None:
        self._session = session
        self._known = known
        self._takes = False
        self._listeners = 0
        # A form, and the values that SQLAlchemy should send for it now.
        self._watched: tuple[Form, Values] | None = None
        self._contents = Contents()
        self.statements = WaitingStatements()

    def __bool__(self) -> bool:
        return bool(self.statements.waiting)

    def start(self) -> None:
        """Have statements wait from now on, unless somebody listens to them."""
        self._takes = self._known is not None and _is_unheard(self._session)
        self._listeners = count_listeners()

    def forget(self) -> None:
        """Look up anew what is known: a name may stand for another table from now on."""
        if self._known is not None:
            self._known.forget()

    def take(self, statement: Any, given: Any) -> WaitingResult | None:
        """Have a statement wait, and return its result; None if it has to go now."""
        if not self._takes or self._known is None or self._listeners != count_listeners():
            return None
        given = {} if given is None else given
        if type(given) is not dict:
            return None
        bound = self._known.forms.bound(statement, given, self._session.bind.dialect)  # type: ignore[union-attr]  # an engine
        if bound is None or bound.form.trust is Trust.NO:
            return None
        self._keep_new()
        if self._needs_objects(bound.form):
            return None
        if bound.form.trust is Trust.NOT_YET:
            self._watch(bound, given)
            return None
        return self._wait(bound, given)

    @property
    def has_nothing_to_flush(self) -> bool:
        """Whether the record has changed nothing: what earlier records left may wait until a query asks for it."""
        session: Any = self._session
        if not self._takes or session._new_rows.has_new:
            return False
        return not (deleted_in(session) or session.identity_map.check_modified())

    def look_at(self, sql: str, values: object) -> None:
        """Compare a statement that SQLAlchemy sends with the form that it should have."""
        if self._watched is not None and self._watched[0].sql == sql:
            form, expected = self._watched
            form.look_at(sql, values, expected)

    def end_watching(self) -> None:
        """Note that SQLAlchemy has executed the statement that is watched."""
        if self._watched is not None:
            form, self._watched = self._watched[0], None
            form.trust = Trust.NO if form.trust is Trust.NOT_YET else form.trust

    def is_apart_from(self, clause: Any) -> bool:
        """Tell whether a statement is a SELECT to which nothing that waits, rows included, makes any difference."""
        known, session = self._known, self._session
        if known is None or not isinstance(session.bind, Engine):
            return False
        lookup = known.lookups.of(clause, session.bind.dialect)
        if lookup is None:
            return False
        reading = known.footprints.of_reading(lookup.table, session._connected)
        if reading is EVERYTHING or self.statements.meet(reading):
            return False
        rows = session._new_rows.rows
        tables = self._contents.tables(rows)
        met = [table for table in tables if reading.meets(self._footprint(table, adds_only=True))]
        return all(self._contents.lack(rows, table, lookup.equal) for table in met)

    def end_record(self, entry_id: str, tables: Iterable[Table]) -> None:
        """Have the statements go if somebody may look at a result later, or rows of `tables` must not overtake them."""
        is_held_back = any(self.statements.meet(self._footprint(table, adds_only=True)) for table in tables)
        if is_held_back or any(map(is_held, self.statements.of(entry_id))):
            self._session._account.note(Effect.SQL)
            self._session._write_rows()

    def send(self, *, behind_savepoint: bool = False) -> None:
        """Send all statements; one whose result somebody holds goes by SQLAlchemy.

        If they are `behind_savepoint`, the transaction is as it was before when one has failed.
        """
        for held, some in groupby(self.statements.waiting, key=is_held):
            if held:
                for waiting in some:
                    self._execute(waiting)
            else:
                self.statements.send(self._session._connected(), list(some), goes_back=behind_savepoint)
        self.statements.clear()

    @property
    def has_others(self) -> bool:
        """Whether statements of other records wait than that of the one at hand."""
        return any(waiting.entry_id != self._session.entry.id for waiting in self.statements.waiting)

    @property
    def has_held(self) -> bool:
        """Whether somebody may still look at a result."""
        return any(map(is_held, self.statements.waiting))

    def write_rows_first(self) -> None:
        """Write what earlier records have added, before statements of the record at hand."""
        session = self._session
        self._start()
        with session._new_rows.writing():
            try:
                session._new_rows.write(session)
            except Exception:
                session._account.note(Effect.SPOILED)
                raise

    def _look(self, waiting: Waiting) -> None:
        """Have statements go up to one whose result somebody looks at."""
        session = self._session
        session._account.note(Effect.SQL)
        self._start()
        try:
            with session._new_rows.writing():
                before = self.statements.up_to(waiting)
                self.statements.send(session._connected(), before[:-1])
                self._execute(waiting)
        except Exception:
            session._account.note(Effect.SPOILED)
            raise

    def _start(self) -> None:
        at_hand = self._session._at_hand
        if at_hand is not None:
            at_hand.start()

    def _execute(self, waiting: Waiting) -> None:
        session = self._session
        if session._at_hand is not None and not waiting.is_as_it_was:
            session._at_hand.on_changed_statement()
        with session.no_autoflush:
            waiting.settle(Session.execute(session, waiting.bound.statement, waiting.given))

    def _wait(self, bound: Bound, given: dict[str, Any]) -> WaitingResult | None:
        footprint = self._footprint_of(bound.form)
        if any(
            footprint.meets(self._footprint(table, adds_only=True))
            for table in self._contents.tables(self._session._new_rows.rows)
        ):
            return None
        values = bound.values(given)
        if values is None:
            return None
        entry_id = self._session.entry.id
        return self.statements.add(Waiting(entry_id, bound, copied(given), values, footprint, self._look))

    def _watch(self, bound: Bound, given: dict[str, Any]) -> None:
        """Look at what SQLAlchemy will send, and look the table up."""
        expected = bound.values(given, with_defaults=False)
        connection = self._session._connected()
        if expected is None or self._session._deferred_constraints.has_any(connection):
            bound.form.trust = Trust.NO
            return
        self._footprint_of(bound.form)
        self._watched = bound.form, expected

    def _footprint_of(self, form: Form) -> Footprint:
        if not is_of_one_table(form.sql):
            return EVERYTHING
        return self._footprint(form.table, adds_only=form.adds_only)

    def _footprint(self, table: Table, *, adds_only: bool) -> Footprint:
        if self._known is None:
            return EVERYTHING
        return self._known.footprints.of(table, self._session._connected, adds_only=adds_only)

    def _keep_new(self) -> None:
        """Take the values of new objects, as the session would flush them before the statement."""
        session: Any = self._session
        if session.autoflush and session._new_rows.has_new and not session._new_rows.ordinary:
            session._new_rows.keep(session, session.entry.id, pure=session._account.effect is Effect.NONE)

    def _needs_objects(self, form: Form) -> bool:
        """Whether the session would flush something first, or the ORM change an object afterwards."""
        session: Any = self._session
        if session._new_rows.has_new or deleted_in(session):
            return True
        return holds_objects(session) and bool(form.is_orm or session.identity_map.check_modified())


def _is_unheard(session: Session) -> bool:
    """Tell whether nobody but streamfea listens to statements, and none gets options by the way."""
    engine: Any = session.bind
    if not isinstance(engine, Engine) or engine.get_execution_options():
        return False
    of_engine, of_dialect, of_session = engine.dispatch, engine.dialect.dispatch, session.dispatch
    return len(of_engine.before_cursor_execute) == 1 and not (
        of_engine.before_execute
        or of_engine.after_execute
        or of_engine.after_cursor_execute
        or of_dialect.do_execute
        or of_dialect.do_executemany
        or of_dialect.do_execute_no_params
        or of_session.do_orm_execute
    )
