"""Cuts a COPY in two where a row refers to a row that a later record adds.

PostgreSQL checks a foreign key when a statement has ended, and COPY writes referenced tables first. So a record whose
row refers to a row of a later record would pass, although it fails in a transaction of its own. The rows are cut into
turns, each of which is written and checked before the next.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.orm import RelationshipDirection

from streamfea.database.copy.columns import LEFT_OUT
from streamfea.database.copy.plans import Plan, Reference, Row

__all__ = ["fit_a_flush", "turns"]

_Key = tuple[int, tuple[str, ...]]

# A key of other types, or one that the server makes, may equal any.
_COMPARABLE = (int, str, UUID)


def fit_a_flush(rows: Sequence[Row]) -> bool:
    """Tell whether a flush of these rows of one record would write referenced ones first, as COPY does."""
    if len(rows) == 1:
        return True
    plans = {row.layout.plan for row in rows}
    return all(_goes_first(parent, child) for child in plans for parent in plans if child.refers_to(parent))


def _goes_first(parent: Plan, child: Plan) -> bool:
    """Tell whether a flush writes the rows of `parent` before those of `child`: by relationships, else by name."""
    if parent is child:
        return False
    edges = {*_edges(parent, child), *_edges(child, parent)}
    if edges:
        return edges == {(parent, child)}
    return parent.model_name < child.model_name


def _edges(plan: Plan, other: Plan) -> list[tuple[Plan, Plan]]:
    """Return which of two goes before the other, by the relationships of the first to the second."""
    directions = {
        relationship.direction
        for relationship in plan.mapper.relationships
        if relationship.mapper is other.mapper and not relationship.viewonly and not relationship.post_update
    }
    before = [(plan, other)] if RelationshipDirection.ONETOMANY in directions else []
    return [*before, (other, plan)] if RelationshipDirection.MANYTOONE in directions else before


def turns(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """Return the rows in their order, cut before each record that may have a row to which an earlier row refers."""
    keys = _keys_of(rows)
    if not keys:
        return [rows]
    cut = _Cut(keys)
    for row in rows:
        cut.add(row)
    return cut.turns()


def _keys_of(rows: Sequence[Row]) -> dict[int, set[tuple[str, ...]]]:
    """Return the columns that rows of these tables refer to, by the number of the referenced table, if it has rows."""
    plans: dict[int, Plan] = {}
    for layout in {row.layout for row in rows}:
        plans[layout.plan.oid] = layout.plan
    keys: dict[int, set[tuple[str, ...]]] = {}
    for plan in plans.values():
        for reference in plan.references:
            if reference.referenced in plans:
                keys.setdefault(reference.referenced, set()).add(tuple(reference.keys))
    return keys


class _Cut:
    """The turns so far; `_wanted` are the keys that rows of the last one's earlier records refer to."""

    def __init__(self, keys: dict[int, set[tuple[str, ...]]]) -> None:
        self._keys = keys
        self._turns: list[list[Row]] = [[]]
        self._record: list[Row] = []
        self._wanted: dict[_Key, set[Any]] = {}

    def add(self, row: Row) -> None:
        if self._record and self._record[0].entry_id != row.entry_id:
            self._end_record()
        self._record.append(row)

    def turns(self) -> list[Sequence[Row]]:
        self._end_record()
        return [*self._turns]

    def _end_record(self) -> None:
        if any(self._is_wanted(row) for row in self._record):
            self._turns.append([])
            self._wanted.clear()
        for row in self._record:
            for reference in row.plan.references:
                self._want(row, reference)
        self._turns[-1] += self._record
        self._record = []

    def _is_wanted(self, row: Row) -> bool:
        for columns in self._keys.get(row.plan.oid, ()):
            wanted = self._wanted.get((row.plan.oid, columns))
            if wanted:
                key = _comparable(row, columns)
                if key is None or key in wanted or None in wanted:
                    return True
        return False

    def _want(self, row: Row, reference: Reference) -> None:
        if reference.referenced in self._keys:
            values = [row.value_of(column) for column in reference.columns]
            if None not in values:  # a key with a NULL refers to nothing
                key = (reference.referenced, tuple(reference.keys))
                self._wanted.setdefault(key, set()).add(_comparable(row, reference.columns))


def _comparable(row: Row, columns: Sequence[str]) -> tuple[object, ...] | None:
    """Return a key in a form in which equal ones are equal; None where that cannot be told here."""
    values = [row.value_of(column) for column in columns]
    if not all(isinstance(value, _COMPARABLE) and value is not LEFT_OUT for value in values):
        return None
    # A collation, or padding, may take for equal what differs here.
    return tuple(value.strip().casefold() if isinstance(value, str) else value for value in values)
