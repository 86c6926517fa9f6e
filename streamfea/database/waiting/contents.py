"""Which tables the new rows that are not written yet are for, and which values they have there."""

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from sqlalchemy import Table

from streamfea.database.copy.plans import Row
from streamfea.database.waiting.lookups import comparable

__all__ = ["Contents"]

T = TypeVar("T")


class Contents:
    """The contents of a list of rows that grows at its end, and may begin anew or lose some at any time."""

    def __init__(self) -> None:
        self._tables = _Seen[Table]()
        self._columns: dict[tuple[Table, str], _Seen[object]] = {}

    def tables(self, rows: Sequence[Row]) -> set[Table]:
        """Return the rows' tables."""
        self._tables.values.update(row.layout.plan.table for row in self._tables.unseen(rows))
        return self._tables.values

    def lack(self, rows: Sequence[Row], table: Table, equal: Mapping[str, object]) -> bool:
        """Tell whether no row for `table` can have all of these values."""
        return any(not self._may_hold(rows, table, column, value) for column, value in equal.items())

    def _may_hold(self, rows: Sequence[Row], table: Table, column: str, value: object) -> bool:
        seen = self._columns.setdefault((table, column), _Seen[object]())
        of_table = (row for row in seen.unseen(rows) if row.plan.table is table)
        seen.values.update(comparable(row.value_of(column)) for row in of_table)
        return value in seen.values or None in seen.values


class _Seen(Generic[T]):
    """What the rows have up to the one that was the last; None stands for a value that may be any."""

    def __init__(self) -> None:
        self.values: set[T] = set()
        self._count = 0
        self._last: Row | None = None

    def unseen(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return the rows that were not there before: all, if others have gone."""
        if self._count and (len(rows) < self._count or rows[self._count - 1] is not self._last):
            self.values.clear()
            self._count = 0
        unseen = rows[self._count :]
        if unseen:
            self._count, self._last = len(rows), unseen[-1]
        return unseen
