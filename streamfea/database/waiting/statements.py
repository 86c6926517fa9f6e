"""The statements that wait for the others of their batch, in their order."""

from collections.abc import Callable, Container, Iterator, Sequence
from itertools import groupby, takewhile
from operator import attrgetter
from typing import Any

import psycopg
from sqlalchemy import Connection

from streamfea.database.connection.driver import driver_of, has_begun, sqlalchemys
from streamfea.database.connection.errors import Fault, whose_fault
from streamfea.database.waiting.footprints import Footprint
from streamfea.database.waiting.forms import Bound, Values
from streamfea.database.waiting.frozen import is_same
from streamfea.database.waiting.results import WaitingResult

__all__ = ["Waiting", "WaitingStatements"]

_SAVEPOINT = "streamfea_waiting"


class Waiting:
    """A statement that waits: its SQL and values, and what it takes to have SQLAlchemy execute it after all."""

    __slots__ = ("_look", "_real", "bound", "entry_id", "footprint", "given", "result", "values")

    def __init__(
        self,
        entry_id: str,
        bound: Bound,
        given: Values,
        values: Values,
        footprint: Footprint,
        look: Callable[["Waiting"], None],
    ) -> None:
        self.entry_id = entry_id
        self.bound = bound
        self.given = given
        self.values = values
        self.footprint = footprint
        self.result: WaitingResult | None = None
        self._look = look
        self._real: Any = None

    @property
    def sql(self) -> str:
        """The statement that is sent."""
        return self.bound.form.sql

    @property
    def is_as_it_was(self) -> bool:
        """Whether SQLAlchemy would still send the same values, but for those that it makes."""
        again = self.bound.values(self.given, with_defaults=False)
        made = self.bound.form.defaults
        return again is not None and all(
            is_same(value, self.values[name]) for name, value in again.items() if name not in made
        )

    def look(self) -> Any:
        """Return the result, for which the statement goes now."""
        if self._real is None:
            self._look(self)
        return self._real

    def settle(self, real: Any) -> None:
        """Note the result that SQLAlchemy has returned."""
        self._real = real
        self.result = None


class WaitingStatements:
    """A batch's statements that are not sent yet; after an error of theirs, `culprit` is the entry to blame."""

    def __init__(self) -> None:
        self.waiting: list[Waiting] = []
        self.culprit: str | None = None

    def __bool__(self) -> bool:
        return bool(self.waiting)

    def add(self, waiting: Waiting) -> WaitingResult:
        """Have a statement wait; return its result."""
        result = WaitingResult(waiting)
        waiting.result = result
        self.waiting.append(waiting)
        return result

    def meet(self, footprint: Footprint) -> bool:
        """Tell whether it makes a difference to any whether they come before or after something else."""
        return any(footprint.meets(other) for other in {waiting.footprint for waiting in self.waiting})

    def entry_ids(self) -> set[str]:
        """Return the entries whose records have statements here."""
        return {waiting.entry_id for waiting in self.waiting}

    def leave_out(self, entry_ids: Container[str]) -> None:
        """Let go of the statements of records that are not to be written after all."""
        self.waiting = [waiting for waiting in self.waiting if waiting.entry_id not in entry_ids]

    def clear(self) -> None:
        """Let go of all."""
        self.waiting = []

    def of(self, entry_id: str) -> Iterator[Waiting]:
        """Yield the statements of the record that runs, the last one first."""
        return takewhile(lambda waiting: waiting.entry_id == entry_id, reversed(self.waiting))

    def up_to(self, last: Waiting) -> list[Waiting]:
        """Take the statements up to one of them out, and return them."""
        at = self.waiting.index(last) + 1
        taken, self.waiting = self.waiting[:at], self.waiting[at:]
        return taken

    def send(self, connection: Connection, taken: Sequence[Waiting], *, goes_back: bool = False) -> None:
        """Send some; raises SQLAlchemy's exceptions.

        It `goes_back` to what was before when one fails; else the error tells the `culprit`, and all is lost.
        """
        if not taken:
            return
        driver = driver_of(connection)
        is_behind = has_begun(connection)
        try:
            _send_together(driver, taken, is_behind=is_behind)
        except psycopg.Error as error:
            if goes_back:
                _go_back(driver, is_behind=is_behind)
            else:
                self.culprit = _culprit(driver, taken, error, is_behind=is_behind)
            raise sqlalchemys(connection, taken[0].sql, error) from error


def _send_together(driver: "psycopg.Connection[Any]", taken: Sequence[Waiting], *, is_behind: bool) -> None:
    with driver.pipeline(), driver.cursor() as cursor:
        if is_behind:
            cursor.execute(f"SAVEPOINT {_SAVEPOINT}")
        for sql, alike in groupby(taken, key=attrgetter("sql")):
            cursor.executemany(sql, [waiting.values for waiting in alike])
        if is_behind:
            cursor.execute(f"RELEASE SAVEPOINT {_SAVEPOINT}")


def _culprit(
    driver: "psycopg.Connection[Any]", taken: Sequence[Waiting], error: psycopg.Error, *, is_behind: bool
) -> str | None:
    """Return the entry whose statement fails when they are sent one by one; None where no record is to blame."""
    if whose_fault(error) is not Fault.RECORD or driver.closed:
        return None
    return next(_failing(driver, taken), None) if _go_back(driver, is_behind=is_behind) else None


def _go_back(driver: "psycopg.Connection[Any]", *, is_behind: bool) -> bool:
    """Undo what was sent; return False if that cannot be."""
    try:
        driver.execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}") if is_behind else driver.rollback()
    except psycopg.Error:
        return False
    return True


def _failing(driver: "psycopg.Connection[Any]", taken: Sequence[Waiting]) -> Iterator[str]:
    for waiting in taken:
        try:
            driver.execute(waiting.sql, waiting.values)
        except psycopg.Error:
            yield waiting.entry_id
