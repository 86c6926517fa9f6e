"""Writes rows by COPY, with the order and the errors of a flush."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import Any

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import CircularDependencyError
from sqlalchemy.util import topological

from streamfea.database.connection.deferred import check_constraints
from streamfea.database.connection.driver import driver_of, sqlalchemys
from streamfea.database.copy.plans import Layout, Plan, Row
from streamfea.database.copy.references import turns

__all__ = ["Copying", "check_deferred", "copied_with", "copy_rows"]


class Copying:
    """Writes rows, those of referenced tables first, each table's in their order.

    Between `start()` and `finish()` PostgreSQL works; nobody else may use the connection then.
    """

    def __init__(self, connection: Connection, rows: Sequence[Row]) -> None:
        self._steps = _steps(connection, rows)
        self._failure: Exception | None = None

    def start(self) -> None:
        """Send rows up to the first wait for PostgreSQL's answer; `finish()` raises its error."""
        try:
            next(self._steps, None)
        except Exception as error:
            self._failure = error

    def finish(self) -> None:
        """Wait for PostgreSQL's answer to the sent rows, and write the rest.

        Raises the SQLAlchemy exceptions that a flush would raise; `copied_with()` tells which rows went along.
        """
        if self._failure is not None:
            raise self._failure
        for _ in self._steps:
            pass


def copy_rows(connection: Connection, rows: Sequence[Row]) -> None:
    """Write rows as `Copying` does."""
    Copying(connection, rows).finish()


def copied_with(error: BaseException) -> Sequence[Row]:
    """Return the rows of the one COPY that failed with `error`, by whose lines PostgreSQL counts."""
    copied: Sequence[Row] = getattr(error, "copied", ())
    return copied


def check_deferred(connection: Connection, rows: Sequence[Row]) -> None:
    """Check the deferred constraints of written rows now; raises `IntegrityError` as COMMIT would."""
    check_constraints(connection, sorted({name for plan in _plans(rows) for name in plan.deferred}))


def _steps(connection: Connection, rows: Sequence[Row]) -> Iterator[None]:
    """Run a COPY for each table, and yield before each wait for PostgreSQL's answer."""
    *earlier, last = turns(rows)
    for turn in earlier:
        yield from _turn_steps(connection, turn)
        check_deferred(connection, turn)
    yield from _turn_steps(connection, last)


def _turn_steps(connection: Connection, rows: Sequence[Row]) -> Iterator[None]:
    driver = driver_of(connection)
    for layout, of_one_copy in groupby(_ordered(rows), key=attrgetter("layout")):
        group = list(of_one_copy)
        try:
            yield from (
                _copy_steps(driver, layout, group)
                if layout.parameters is None
                else _insert_steps(driver, layout, layout.parameters, group)
            )
        except psycopg.Error as error:
            failure: Any = sqlalchemys(connection, layout.statement, error)
            failure.copied = group
            raise failure from error


def _copy_steps(driver: "psycopg.Connection[Any]", layout: Layout, rows: Sequence[Row]) -> Iterator[None]:
    with driver.cursor() as cursor, cursor.copy(layout.statement) as copy:
        for row in rows:
            copy.write_row(row.values)
        yield


def _insert_steps(
    driver: "psycopg.Connection[Any]", layout: Layout, parameters: Sequence[str], rows: Sequence[Row]
) -> Iterator[None]:
    yield
    with driver.cursor() as cursor:
        cursor.executemany(layout.statement, [dict(zip(parameters, row.values, strict=True)) for row in rows])


def _ordered(rows: Sequence[Row]) -> Sequence[Row]:
    plans = _plans(rows)
    if len(plans) == 1:
        return rows
    places = _places(frozenset(plans))
    return sorted(rows, key=lambda row: places[row.plan])


@lru_cache(maxsize=1_000)
def _places(plans: frozenset[Plan]) -> dict[Plan, int]:
    """Return the tables' places: referenced ones first, others by their models' names, as in a flush."""
    by_name = sorted(plans, key=lambda plan: plan.model_name)
    references = [(parent, child) for child in by_name for parent in by_name if child.refers_to(parent)]
    try:
        in_order = list(topological.sort([edge for edge in references if edge[0] is not edge[1]], by_name))
    except CircularDependencyError:
        in_order = by_name
    return {plan: place for place, plan in enumerate(in_order)}


def _plans(rows: Iterable[Row]) -> set[Plan]:
    return {layout.plan for layout in {row.layout for row in rows}}
