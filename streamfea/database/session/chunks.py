"""Reading a table of any size, a chunk at a time."""

import operator as compare
from collections.abc import Iterator, Sequence
from typing import Any, Generic, Self, TypeVar

from sqlalchemy import ColumnElement, inspect, tuple_
from sqlalchemy.orm import Mapper, Query, Session

__all__ = ["ChunkedQuery"]

T = TypeVar("T")

_OPERATORS: dict[str, Any] = {"<": compare.lt, "<=": compare.le, ">": compare.gt, ">=": compare.ge}


class ChunkedQuery(Generic[T]):
    """Queries of up to `chunk_size` rows each, in the order of the primary key; memory holds one chunk.

        for chunk in dbsession.chunked_query(Reading).filter(Reading.day < day):
            for reading in chunk:
                ...

    Each chunk starts after the key at which the one before ended, so that its price does not grow as an OFFSET's
    does, and rows may be changed or deleted on the way. Rows with a key above the highest one at the beginning are
    left out: a handler that adds to the table that it reads comes to an end.
    """

    def __init__(self, session: Session, model: type[T], chunk_size: int = 5000) -> None:
        if chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1, not {chunk_size}")
        mapper: Mapper[T] = inspect(model)
        self._query: Query[T] = session.query(model)
        self._key = [mapper.get_property_by_column(column).class_attribute for column in mapper.primary_key]
        self._chunk_size = chunk_size
        self._reversed = False

    def filter(self, *criteria: Any) -> Self:
        """Return the same for the rows that also fit `criteria`."""
        return self._with(self._query.filter(*criteria))

    def filter_by(self, **values: Any) -> Self:
        """Return the same for the rows whose attributes also have these `values`."""
        return self._with(self._query.filter_by(**values))

    def reverse_chunks(self) -> Self:
        """Return the same with the last chunk first; inside a chunk the order stays."""
        new = self._with(self._query)
        new._reversed = not self._reversed
        return new

    def count(self) -> int:
        """Return the number of rows in all chunks."""
        return self._query.count()

    def __iter__(self) -> Iterator[Query[T]]:
        """Yield the query of each chunk."""
        rest = self._query
        limit = self._key_at(rest, 0, descending=True)
        while limit is not None:
            bounded = rest.filter(self._compared("<=", limit))
            edge = self._key_at(bounded, self._chunk_size - 1, descending=self._reversed)
            if edge is None:
                if self._key_at(bounded, 0) is not None:
                    yield self._ordered(bounded)
                return
            yield self._ordered(bounded.filter(self._compared(">=" if self._reversed else "<=", edge)))
            rest = self._query.filter(self._compared("<" if self._reversed else ">", edge))

    def _key_at(self, query: Query[T], offset: int, *, descending: bool = False) -> Sequence[Any] | None:
        """Return the primary key of the row after `offset` others; None when there are not so many."""
        keys = query.with_entities(*self._key)
        order = (key.desc() if descending else key for key in self._key)
        found: Sequence[Any] | None = keys.order_by(*order).offset(offset).limit(1).first()
        return found

    def _compared(self, operator: str, key: Sequence[Any]) -> ColumnElement[bool]:
        single = len(self._key) == 1
        sides = (self._key[0], key[0]) if single else (tuple_(*self._key), tuple_(*key))
        compared: ColumnElement[bool] = _OPERATORS[operator](*sides)
        return compared

    def _ordered(self, query: Query[T]) -> Query[T]:
        return query.order_by(*self._key)

    def _with(self, query: Query[T]) -> Self:
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__, _query=query)
        return new
