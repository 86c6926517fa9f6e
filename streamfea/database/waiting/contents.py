"""Which tables the new rows that are not written yet are for, and which values they have there."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Table

from streamfea.database.copy.plans import Row
from streamfea.database.waiting.lookups import comparable

__all__ = ["Contents"]


class Contents:
    """The contents of a list of rows that grows at its end, or begins anew."""

    def __init__(self) -> None:
        # The first so many rows have been looked at.
        self._count = 0
        self._tables: set[Table] = set()
        self._columns: dict[tuple[Table, str], _Seen] = {}

    def tables(self, rows: Sequence[Row]) -> set[Table]:
        """Return the rows' tables."""
        if len(rows) < self._count:
            self.__init__()  # type: ignore[misc]  # the rows have begun anew
        if len(rows) > self._count:
            self._tables.update(row.layout.plan.table for row in rows[self._count :])
            self._count = len(rows)
        return self._tables

    def lack(self, rows: Sequence[Row], table: Table, equal: Mapping[str, object]) -> bool:
        """Tell whether no row for `table` can have all of these values."""
        return any(not self._seen(rows, table, column).may_hold(value) for column, value in equal.items())

    def _seen(self, rows: Sequence[Row], table: Table, column: str) -> "_Seen":
        seen = self._columns.get((table, column))
        if seen is None or len(rows) < seen.count:
            seen = self._columns[table, column] = _Seen()
        for row in rows[seen.count :]:
            if row.plan.table is table:
                seen.values.add(comparable(row.value_of(column)))
        seen.count = len(rows)
        return seen


class _Seen:
    """The values of a column in the first so many rows, comparable; None stands for one that may be any."""

    def __init__(self) -> None:
        self.count = 0
        self.values: set[object] = set()

    def may_hold(self, value: object) -> bool:
        return value in self.values or None in self.values
