"""A session that only notes a new object until something has to see it, and then writes many at once.

`Session.add()` and the flush are most of what a record costs. An object that nobody looks at before its row is written
needs neither: it is noted, its values are taken when its record ends, and COPY writes them with the others'. Whatever
looks into the session sees what `add()` has promised, since it finds the noted objects where SQLAlchemy keeps new ones.
"""

from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import instance_state

from streamfea.database.connection.driver import driver_of
from streamfea.database.copy.isolation import Sieve
from streamfea.database.copy.plans import Plan, Plans, Row, is_held
from streamfea.database.copy.references import fit_a_flush, turns
from streamfea.database.copy.writer import Copying, check_deferred, copy_rows
from streamfea.orm.lazy_state import enter_session, leave_session

__all__ = ["NotingSession"]

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


class NotingSession(Session):
    """A session in which `add()` notes what can be written by COPY, while `start_noting()` allows it.

    `plans` says how; without, every object takes the ordinary way.
    """

    def __init__(self, *args: Any, plans: Plans | None = None, **kwargs: Any) -> None:
        self._plans = plans
        self._models: dict[type, Plan | None] = {}
        self._noting = False
        self._noted: list[object] = []
        self._rows: list[Row] = []
        self._started: Copying | None = None
        self._impure: set[str] = set()
        self._ordinary: dict[Any, object] = {}
        super().__init__(*args, **kwargs)

    @property
    def _new(self) -> dict[Any, object]:
        """Where SQLAlchemy keeps new objects; whoever looks finds those that were only noted, too."""
        if self._noted:
            self._take_up()
        return self._ordinary

    @_new.setter
    def _new(self, states: dict[Any, object]) -> None:
        self._noted.clear()
        self._ordinary = states

    def start_noting(self) -> None:
        """Note objects from now on, unless somebody listens to what becomes of them."""
        dispatch: Any = self.dispatch
        self._noting = self._plans is not None and not any(getattr(dispatch, event) for event in _EVENTS)

    def forget_plans(self) -> None:
        """Look up anew how objects are written: a name may stand for another table from now on."""
        self._models.clear()
        if self._plans is not None:
            self._plans.forget()

    def add(self, instance: object, *, _warn: bool = True) -> None:
        """Add an object, which is committed with its record."""
        if self._noting and not self._ordinary:
            model = type(instance)
            plan = self._models[model] if model in self._models else self._plan_for(model)
            if plan is not None and enter_session(instance, self.hash_key):
                self._noted.append(instance)
                return
        super().add(instance, _warn=_warn)

    def keep_noted(self, entry_id: str, *, pure: bool) -> None:
        """Take the values of what a record's end has left noted; what has to be flushed instead is as if added.

        `pure` says that the record has done nothing else, so that leaving out its rows undoes it.
        """
        # A flush has its own order for new rows beside changes and deletions.
        is_mixed = bool(self._deleted) or self.identity_map.check_modified()
        rows = None if is_mixed else self._rows_of(entry_id, self._noted)
        if rows is None:
            self._take_up()
            return
        self._noted = []
        self._rows += rows
        if not pure:
            self._impure.add(entry_id)

    def forget_noted(self) -> None:
        """Let go of what the record at hand has added."""
        for instance in self._noted:
            leave_session(instance)
        self._noted.clear()

    @property
    def rows(self) -> Sequence[Row]:
        """The rows of kept records that are not written yet."""
        return self._rows

    @property
    def holds_only_rows(self) -> bool:
        """Whether the session holds nothing but rows of records that did nothing else."""
        return not (self._ordinary or self._deleted or self._noted or self._impure or self.identity_map)

    def leave_out(self, entry_ids: Container[str]) -> None:
        """Let go of the rows of records that are not to be written after all."""
        self._rows = [row for row in self._rows if row.entry_id not in entry_ids]

    def write_rows(self) -> None:
        """Write the rows of kept records; raises what a flush would raise."""
        if self._rows:
            copy_rows(self._connected(), self._rows)
            check_deferred(self._connected(), self._rows)
            self._rows.clear()

    def start_writing(self) -> None:
        """Send the rows of kept records, the first in their transaction; whoever writes them waits for the answer.

        And meets whatever keeps them from being sent.
        """
        if self._rows and not any(row.lacks for row in self._rows) and len(turns(self._rows)) == 1:
            with suppress(SQLAlchemyError):  # from connecting
                self._started = Copying(self._connected(), self._rows)
                self._started.start()

    @property
    def has_started_writing(self) -> bool:
        """Whether the rows of kept records are sent, but not yet known to be written."""
        return self._started is not None

    def commit_started(self, also: Callable[["psycopg.Connection[Any]"], object]) -> None:
        """Write the rows that are sent, do `also`, and commit; whatever raises, it is as if nothing had been sent.

        What psycopg raises is raised as it is.
        """
        started, self._started = self._started, None
        driver = driver_of(self._connected())
        try:
            if started is not None:
                started.finish()
            with driver.pipeline():  # both in one round trip
                also(driver)
                driver.commit()
        except Exception:
            with suppress(psycopg.Error):  # the connection is gone
                driver.rollback()
            raise
        self._rows = []

    def write_rows_of_the_good(self) -> dict[str, Exception]:
        """Write the rows of kept records but for those whose record cannot be; return why, by entry id.

        Raises what is no single record's doing, and what cannot be undone by leaving out rows.
        """
        # Out of sight meanwhile: SQLAlchemy flushes before it sets a savepoint, and later objects have their turn.
        rows, self._rows = self._rows, []
        ordinary, self._ordinary = self._ordinary, {}
        started, self._started = self._started, None
        sieve = Sieve(self._connected(), self._impure, self._flush_rows, started)
        try:
            sieve.write(rows)
        except Exception:
            self._rows = rows
            raise
        finally:
            self._ordinary = ordinary
        return sieve.failed

    def _flush_rows(self, rows: Sequence[Row]) -> None:
        """Write rows by an ordinary flush, behind a savepoint."""
        instances = [row.instance for row in rows]
        with super().begin_nested():
            for instance in instances:
                self._add_ordinarily(instance)
            super().flush()
        for instance in instances:
            self.expunge(instance)

    def _plan_for(self, model: type) -> Plan | None:
        plan = self._plans.of(model, self._connected) if self._plans is not None else None
        self._models[model] = plan
        return plan

    def _rows_of(self, entry_id: str, noted: list[object]) -> list[Row] | None:
        """Return the rows of noted objects; None when they have to take the ordinary way."""
        rows: list[Row] = []
        try:
            for index in range(len(noted)):
                plan = self._models[type(noted[index])]
                row = None if plan is None or is_held(noted, index) else plan.row(entry_id, noted[index])
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

    def _take_up(self) -> None:
        """Do for the noted objects what `add()` would have done when they were added.

        Nothing came along with them: they had plain attributes only. What they have got since then does not count.
        """
        noted, self._noted = self._noted, []
        for instance in noted:
            leave_session(instance)
            private: Any = self
            private._save_or_update_impl(instance_state(instance))

    def _add_ordinarily(self, instance: object) -> None:
        leave_session(instance)
        super().add(instance)

    def _connected(self) -> Connection:
        """Return the transaction's connection, for what is no doing of the record at hand."""
        return super().connection()
