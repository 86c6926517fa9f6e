"""Tells which SELECTs cannot meet what waits, so that they go without a flush."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import BinaryExpression, BindParameter, BooleanClauseList, Column, Dialect, Select
from sqlalchemy.sql import operators
from sqlalchemy.types import CHAR, Integer, String, Uuid

from streamfea.database.waiting.footprints import has_harmless_calls_only
from streamfea.orm.internals import cache_key_of

__all__ = ["Lookup", "Lookups", "comparable"]

# As many kinds of SELECT are kept; a handler that builds its SQL from its record's values never comes to an end.
_MOST = 500

_OF_ONE_TABLE = re.compile(
    r"SELECT (?:(?!\bSELECT\b).)+? FROM ([\w.\"$]+)(?: AS \w+)?(?: (?:WHERE|ORDER|LIMIT|GROUP) .*)?"
)
_MORE = re.compile(r"\b(?:select|from|join|union|intersect|except|for|with|lateral|tablesample|into)\b", re.IGNORECASE)


class Lookup(NamedTuple):
    """A SELECT on one table, by its name as PostgreSQL is sent it; `equal` are columns that must have these values."""

    table: str
    equal: dict[str, Any]


class Lookups:
    """The kinds of SELECT that handlers use; each is looked at once."""

    def __init__(self) -> None:
        self._tables: dict[Any, str | None] = {}

    def of(self, clause: Any, dialect: Dialect) -> Lookup | None:
        """Return what a SELECT looks up; None where that cannot be said, or it is no SELECT."""
        if not isinstance(clause, Select):
            return None
        try:
            key = cache_key_of(clause)
            if key is None:
                return None
            if key not in self._tables:
                if len(self._tables) >= _MOST:
                    self._tables.clear()
                self._tables[key] = _table_of(str(clause.compile(dialect=dialect)))
        except Exception:  # SQLAlchemy will meet it again, and raise it
            return None
        table = self._tables[key]
        return None if table is None else Lookup(table, dict(_equalities(clause.whereclause)))


def comparable(value: object) -> object:
    """Return a key in a form in which equal ones are equal; None where that cannot be told here."""
    if isinstance(value, str):  # a collation, or padding, may take for equal what differs here
        return value.strip().casefold()
    return value if type(value) in (int, UUID) else None


def _table_of(sql: str) -> str | None:
    """Return the one table that a SELECT reads; None if it may read more, or does more than to read."""
    sql = " ".join(sql.split())
    match = _OF_ONE_TABLE.fullmatch(sql)
    if (
        match is None
        or list(map(str.lower, _MORE.findall(sql))) != ["select", "from"]
        or not has_harmless_calls_only(sql)
    ):
        return None
    return match[1]


def _equalities(where: Any) -> Iterable[tuple[str, Any]]:
    """Yield the columns that must equal a value, with that in a comparable form."""
    parts = where.clauses if isinstance(where, BooleanClauseList) and where.operator is operators.and_ else [where]
    for part in parts:
        if (
            isinstance(part, BinaryExpression)
            and part.operator is operators.eq
            and isinstance(part.right, BindParameter)
        ):
            column, value = part.left, comparable(part.right.value)
            if isinstance(column, Column) and value is not None and _is_compared_as_it_is(column.type, value):
                yield column.name, value


def _is_compared_as_it_is(kind: Any, value: object) -> bool:
    """Tell whether a column's type binds a value unchanged, and PostgreSQL compares it as Python does."""
    if type(kind) is Integer or type(kind) is Uuid:
        return type(value) is (int if type(kind) is Integer else UUID)
    return isinstance(kind, String) and not isinstance(kind, CHAR) and kind.collation is None and type(value) is str
