"""Buffers new objects whose rows COPY can write, until something has to see them.

`Session.add()` and the flush are most of what a record costs. An object that nobody looks at before its row is written
needs neither: it is set aside, its values are taken when its record ends, and COPY writes them with the others'.
Whatever looks into the session sees what `add()` has promised, since it finds these objects where SQLAlchemy keeps new
ones.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import Table
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import instance_state

from streamfea.database.connection.driver import driver_of
from streamfea.database.copy.isolation import CopyIsolation
from streamfea.database.copy.plans import Plan, Plans, Row, is_held
from streamfea.database.copy.references import fit_a_flush, turns
from streamfea.database.copy.writer import Copying, check_deferred, copy_rows
from streamfea.orm.internals import deleted_in, save
from streamfea.orm.lazy_state import enter_session, leave_session

if TYPE_CHECKING:
    from streamfea.database.session.session import DbSession

__all__ = ["NewRows"]

# What a session's listeners might want to see of new objects.
_EVENTS = (
    "before_flush",
    "after_flush",
    "after_flush_postexec",
    "before_attach",
    "after_attach",
    "transient_to_pending",
    "pending_to_transient",
    "pending_to_persistent",
    "persistent_to_detached",
)


class NewRows:
    """The new objects of a session, and the rows of those whose record has ended.

    `plans` says which objects COPY can write; without it, every object takes SQLAlchemy's way.
    """

    def __init__(self, plans: Plans | None) -> None:
        self._plans = plans
        # How the models of this transaction are written, None for SQLAlchemy's way.
        self._models: dict[type, Plan | None] = {}
        self._takes = False
        # Set aside by the record at hand, without a state of SQLAlchemy's.
        self._aside: list[object] = []
        # New objects that take SQLAlchemy's way, by their states.
        self.ordinary: dict[Any, object] = {}
        # Rows of records that have ended, not written yet.
        self.rows: list[Row] = []
        # The entries whose records have done more than add rows.
        self._impure: set[str] = set()
        # The COPY that PostgreSQL works on, begun before its answer is waited for.
        self._started: Copying | None = None
        self.is_writing = False

    def start(self, dispatch: Any) -> None:
        """Set objects aside from now on, unless somebody listens to the session's new objects."""
        self._takes = self._plans is not None and not any(getattr(dispatch, event) for event in _EVENTS)

    def stop(self, session: "DbSession") -> None:
        """Set no objects aside any more; those that are take SQLAlchemy's way."""
        self._takes = False
        self._take_up(session)

    def forget_plans(self) -> None:
        """Look up anew how objects are written: a name may stand for another table from now on."""
        self._models.clear()
        if self._plans is not None:
            self._plans.forget()

    def take(self, instance: object, session: "DbSession") -> bool:
        """Set a new object aside; return False if it has to take SQLAlchemy's way."""
        if not self._takes or self.ordinary:
            return False
        model = type(instance)
        plan = self._models[model] if model in self._models else self._plan_for(model, session)
        if plan is None or not enter_session(instance, session.hash_key):
            return False
        self._aside.append(instance)
        return True

    def all_new(self, session: "DbSession") -> dict[Any, object]:
        """Return SQLAlchemy's dictionary of new objects, those that were set aside included."""
        if self._aside:
            self._take_up(session)
        return self.ordinary

    def replace_ordinary(self, states: dict[Any, object]) -> None:
        """Have SQLAlchemy keep new objects in `states`, with none of those before."""
        self._aside.clear()
        self.ordinary = states

    def keep(self, session: "DbSession", entry_id: str, *, pure: bool) -> None:
        """Take the values of what a record's end has left aside; what has to be flushed instead is as if added.

        `pure` says that the record has done nothing else, so that leaving out its rows undoes it.
        """
        if not self._aside:
            return
        # A flush has its own order for new rows beside changes and deletions.
        is_mixed = deleted_in(session) or session.identity_map.check_modified()
        rows = None if is_mixed else self._rows_of(entry_id)
        if rows is None or self._would_go_before(rows, entry_id):
            self._take_up(session)
            return
        self._aside = []
        self.rows += rows
        if not pure:
            self._impure.add(entry_id)

    def _would_go_before(self, rows: Sequence[Row], entry_id: str) -> bool:
        """Tell whether rows would be written before those of the same record that an earlier flush has to write."""
        earlier = {row.plan for row in takewhile(lambda row: row.entry_id == entry_id, reversed(self.rows))}
        return any(child.refers_to(row.plan) for child in earlier for row in rows)

    def forget_aside(self) -> None:
        """Forget the objects that the current record has added."""
        for instance in self._aside:
            leave_session(instance)
        self._aside.clear()

    def forget_rows(self, entry_id: str) -> None:
        """Forget the rows that the current record has added."""
        while self.rows and self.rows[-1].entry_id == entry_id:
            self.rows.pop()

    @contextmanager
    def out_of_sight(self) -> Iterator[None]:
        """Hide the new objects of the record at hand."""
        aside, self._aside = self._aside, []
        ordinary, self.ordinary = self.ordinary, {}
        try:
            yield
        finally:
            self._aside, self.ordinary = aside, ordinary

    def clear(self) -> None:
        """Let go of all rows."""
        self.rows = []

    @property
    def has_new(self) -> bool:
        """Whether the record at hand has new objects that are not written."""
        return bool(self._aside or self.ordinary)

    def tables_aside(self) -> set[Table]:
        """Return the tables of the objects set aside."""
        plans = (self._models[model] for model in set(map(type, self._aside)))
        return {plan.table for plan in plans if plan is not None}

    @property
    def are_pure(self) -> bool:
        """Whether there are no new objects but the rows of records that did nothing else."""
        return not (self.ordinary or self._aside or self._impure)

    @property
    def unwritten(self) -> list[tuple[str, object]]:
        """The objects whose rows are not written yet, each with the id of the entry whose record added it."""
        return [(row.entry_id, row.instance) for row in self.rows]

    def leave_out(self, entry_ids: Container[str]) -> None:
        """Let go of the rows of records that are not to be written after all."""
        self.rows = [row for row in self.rows if row.entry_id not in entry_ids]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Note that rows are being written: a statement is no reason to write them first."""
        before, self.is_writing = self.is_writing, True
        try:
            yield
        finally:
            self.is_writing = before

    def write(self, session: "DbSession") -> None:
        """Write the rows of kept records; raises what a flush would raise."""
        if self.rows:
            copy_rows(session._connected(), self.rows)
            check_deferred(session._connected(), self.rows)
            self.rows.clear()

    def start_writing(self, session: "DbSession") -> None:
        """Begin the COPY of kept records' rows, as the first statement of the transaction.

        The writer waits for its end, and meets the error if the rows cannot be sent.
        """
        if self.rows and not any(row.lacks for row in self.rows) and len(turns(self.rows)) == 1:
            with suppress(SQLAlchemyError):  # from connecting
                self._started = Copying(session._connected(), self.rows)
                self._started.start()

    @property
    def has_started_writing(self) -> bool:
        """Whether the rows of kept records are sent, but not yet known to be written."""
        return self._started is not None

    def commit_started(self, session: "DbSession", also: Callable[["psycopg.Connection[Any]"], object]) -> None:
        """Write the rows that are sent, do `also`, and commit; whatever raises, it is as if nothing had been sent.

        Raises psycopg's errors as they are.
        """
        started, self._started = self._started, None
        driver = driver_of(session._connected())
        try:
            if started is not None:
                started.finish()
            session._put_off.send()
            with driver.pipeline():  # both in one round trip
                also(driver)
                driver.commit()
        except Exception:
            with suppress(psycopg.Error):  # the connection is gone
                driver.rollback()
            raise
        self.rows = []

    def write_those_of_the_good(self, session: "DbSession") -> dict[str, Exception]:
        """Write the rows of kept records but for those whose record cannot be; return why, by entry id.

        Raises what is no single record's doing, and what cannot be undone by leaving out rows.
        """
        # Out of sight meanwhile: SQLAlchemy flushes before it sets a savepoint, and later objects have their turn.
        rows, self.rows = self.rows, []
        ordinary, self.ordinary = self.ordinary, {}
        started, self._started = self._started, None
        impure = self._impure | session._put_off.statements.entry_ids()
        isolation = CopyIsolation(session._connected(), impure, lambda some: _flush_rows(session, some), started)
        try:
            isolation.write(rows)
        except Exception:
            self.rows = rows
            raise
        finally:
            self.ordinary = ordinary
        return isolation.failed

    def _plan_for(self, model: type, session: "DbSession") -> Plan | None:
        plan = self._plans.of(model, session._connected) if self._plans is not None else None
        self._models[model] = plan
        return plan

    def _rows_of(self, entry_id: str) -> list[Row] | None:
        """Return the rows of the objects set aside; None when they have to take SQLAlchemy's way."""
        rows: list[Row] = []
        aside = self._aside
        try:
            for index in range(len(aside)):
                plan = self._models[type(aside[index])]
                row = None if plan is None or is_held(aside, index) else plan.row(entry_id, aside[index])
                if row is None:
                    break
                rows.append(row)
            else:
                if fit_a_flush(rows):
                    return rows
        except Exception:  # noqa: S110 - a bind processor's or a default's: the flush will meet it again, and raise it
            pass
        for row in rows:
            row.hand_back()
        return None

    def _take_up(self, session: "DbSession") -> None:
        """Do for the objects set aside what `add()` would have done when they were added.

        Nothing came along with them: they had plain attributes only. What they have got since then does not count.
        """
        aside, self._aside = self._aside, []
        for instance in aside:
            leave_session(instance)
            save(session, instance_state(instance))


def _flush_rows(session: "DbSession", rows: Sequence[Row]) -> None:
    """Write rows by an ordinary flush, behind a savepoint."""
    instances = [row.instance for row in rows]
    with Session.begin_nested(session):
        for instance in instances:
            leave_session(instance)
            Session.add(session, instance)
        Session.flush(session)
    for instance in instances:
        session.expunge(instance)
