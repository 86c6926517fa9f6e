"""Guesses from an error which records have caused it.

PostgreSQL names the constraint and often the values that broke it, never our record. Comparing these with what the
records added gives suspects. Suspicion only saves time: what a record is guilty of is decided by running it alone.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from sqlalchemy import Column, inspect
from sqlalchemy.exc import DBAPIError

from streamfea.database.copy.plans import Row
from streamfea.database.copy.writer import copied_with

# PostgreSQL's detail for unique and foreign-key violations: Key (a, b)=(1, x) already exists.
_KEY_DETAIL = re.compile(r"Key \((?P<columns>.+?)\)=\((?P<values>.*)\) ", re.DOTALL)

# Its context of an error in a COPY, in whatever language: COPY table, line 3, column name: "value"
_LINE = re.compile(r"\D*(\d+)")


def suspects(error: BaseException, added: Iterable[tuple[str, object]]) -> set[str]:
    """Return the ids of the entries whose objects fit `error`; empty when nothing points at anyone.

    `added` are the objects that were to be written, each with its entry's id.
    """
    # One whose state its handler has taken from its dictionary cannot be looked into.
    added = [(entry_id, instance) for entry_id, instance in added if inspect(instance, raiseerr=False) is not None]
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, psycopg.errors.NotNullViolation):
        return {entry_id for entry_id, instance in added if _lacks_a_value(instance)}
    if not isinstance(cause, psycopg.IntegrityError):
        return set()
    match = _KEY_DETAIL.match(cause.diag.message_detail or "")
    if match is None:
        return set()
    columns = match["columns"].split(", ")
    return {
        entry_id for entry_id, instance in added if _values(instance, cause.diag.table_name, columns) == match["values"]
    }


def culprit(error: BaseException, rows: Sequence[Row]) -> str | None:
    """Return the id of the entry whose row a failed COPY of `rows` most likely stumbled over."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, psycopg.Error):
        return None
    stumbled_over = _row_at_line(error, cause)
    if stumbled_over is not None:
        return stumbled_over.entry_id
    suspected = suspects(error, ((row.entry_id, row.instance) for row in rows))
    return next((row.entry_id for row in rows if row.entry_id in suspected), None)


def certain_culprits(error: BaseException, rows: Sequence[Row]) -> list[str]:
    """Return the ids of the entries that `error` convicts for certain: an error of COPY, or of deferred constraints.

    - NOT NULL or CHECK: the row alone decides. The row at the line that COPY names is convicted.
    - A deferred UNIQUE, and one new row has the key: that row is convicted, since the other is in the table already.
    - A deferred UNIQUE, and several new rows have the key: all but the first are convicted. If their table has another
      deferred constraint, nobody is, since the first row might fail, too.

    An entry that has more rows than this one is never convicted here: its other rows may be bad as well.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    count = Counter(row.entry_id for row in rows)
    if isinstance(cause, (psycopg.errors.NotNullViolation, psycopg.errors.CheckViolation)):
        row = _row_at_line(error, cause)
        return [row.entry_id] if row is not None and count[row.entry_id] == 1 else []
    if not isinstance(cause, psycopg.errors.UniqueViolation) or copied_with(error):
        return []
    holders = _holders(cause, rows)
    if any(count[row.entry_id] > 1 for row in holders):
        return []
    if len(holders) > 1:
        holders = holders[1:] if len(holders[0].plan.deferred) == 1 else []
    return [row.entry_id for row in holders]


def _row_at_line(error: BaseException, cause: psycopg.Error) -> Row | None:
    """Return the row at which a COPY has stopped, as its error says."""
    copied = copied_with(error)
    context = cause.diag.context or ""
    start = f"COPY {copied[0].plan.table.name}, " if copied else ""
    line = _LINE.match(context, len(start)) if copied and context.startswith(start) else None
    return copied[int(line[1]) - 1] if line is not None and int(line[1]) <= len(copied) else None


def _holders(cause: psycopg.Error, rows: Sequence[Row]) -> list[Row]:
    """Return the rows that have the key which is there twice; none where that is not certain of every row."""
    match = _KEY_DETAIL.match(cause.diag.message_detail or "")
    if match is None:
        return []
    columns = match["columns"].split(", ")
    keys = [(row, row.shown(columns)) for row in rows if row.plan.table.name == cause.diag.table_name]
    return [row for row, key in keys if key == match["values"]] if all(key is not None for _, key in keys) else []


def _lacks_a_value(added: object) -> bool:
    """Tell whether a column that must have a value has none; foreign keys may still get theirs from a relationship."""
    return any(
        not column.nullable
        and not column.primary_key
        and not column.foreign_keys
        and column.default is None
        and column.server_default is None
        and _value(added, column) is None
        for column in inspect(added, raiseerr=True).mapper.local_table.columns
    )


def _values(added: object, table_name: str | None, columns: list[str]) -> str | None:
    table = inspect(added, raiseerr=True).mapper.local_table
    if table.name != table_name or any(name not in table.columns for name in columns):
        return None
    return ", ".join(str(_value(added, table.columns[name])) for name in columns)


def _value(added: object, column: Column[Any]) -> Any:
    state = inspect(added, raiseerr=True)
    return state.dict.get(state.mapper.get_property_by_column(column).key)
