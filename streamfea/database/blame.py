"""Which records to look at first when a flush has failed.

PostgreSQL names the constraint and often the values that broke it, never our record. Comparing these with what the
records added gives suspects. Suspicion only saves time: what a record is guilty of is decided by running it alone.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from sqlalchemy import Column, inspect
from sqlalchemy.exc import DBAPIError

from streamfea.database.bulk import Row

# PostgreSQL's detail for unique and foreign-key violations: Key (a, b)=(1, x) already exists.
_KEY_DETAIL = re.compile(r"Key \((?P<columns>.+?)\)=\((?P<values>.*)\) ", re.DOTALL)

# Its context of an error in a COPY, in whatever language: COPY table, line 3, column name: "value"
_COPY_LINE = re.compile(r"^COPY (?P<table>.+?), \D*(?P<number>\d+)", re.MULTILINE)


def suspects(error: BaseException, added: Iterable[tuple[str, object]]) -> set[str]:
    """Return the ids of the entries whose objects fit `error`; empty when nothing points at anyone.

    `added` are the objects that were to be written, each with its entry's id.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, psycopg.errors.NotNullViolation):
        return {entry_id for entry_id, one in added if _lacks_a_value(one)}
    if not isinstance(cause, psycopg.IntegrityError):
        return set()
    match = _KEY_DETAIL.match(cause.diag.message_detail or "")
    if match is None:
        return set()
    columns = match["columns"].split(", ")
    return {one_id for one_id, one in added if _values(one, cause.diag.table_name, columns) == match["values"]}


def culprit(error: BaseException, rows: Sequence[Row]) -> str | None:
    """Return the id of the entry whose row a failed COPY of `rows` most likely stumbled over."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, psycopg.Error):
        return None
    line = _COPY_LINE.search(cause.diag.context or "")
    if line is not None:
        of_table = [row for row in rows if row.plan.table.name == line["table"]]
        number = int(line["number"])
        return of_table[number - 1].entry_id if number <= len(of_table) else None
    suspected = suspects(error, ((row.entry_id, row.instance) for row in rows))
    return next((row.entry_id for row in rows if row.entry_id in suspected), None)


def certain_culprits(error: BaseException, rows: Sequence[Row]) -> list[str]:
    """Return the ids of entries that `error`, of a COPY of `rows` or of a look at deferred constraints, convicts.

    A NULL or a CHECK is judged by the row alone. And of the rows that have a key which a deferred constraint has found
    twice, all but the first fail; the first, too, if it is the only one, for the other is in the table already.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, (psycopg.errors.NotNullViolation, psycopg.errors.CheckViolation)):
        one = culprit(error, rows) if _COPY_LINE.search(cause.diag.context or "") else None
        return [] if one is None else [one]
    match = _KEY_DETAIL.match(cause.diag.message_detail or "") if isinstance(cause, psycopg.Error) else None
    if match is None or not isinstance(cause, psycopg.errors.UniqueViolation) or cause.diag.context:
        return []
    columns = tuple(match["columns"].split(", "))
    keys = [(row.entry_id, row.shown(columns)) for row in rows if row.plan.table.name == cause.diag.table_name]
    if any(key is None for _, key in keys):
        return []
    holders = [entry_id for entry_id, key in keys if key == match["values"]]
    return holders[1:] or holders


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
