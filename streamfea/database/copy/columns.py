"""The columns of a mapped class, for COPY: how a value is formatted, and which values need an ordinary flush.

PostgreSQL reads a value in COPY as its type's input function does, in an INSERT as a parameter with a cast. For the
types and values here both come to the same; for all others nothing is said, and they take the ordinary way.
"""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.types.json import Json, Jsonb
from psycopg.types.range import Range
from sqlalchemy import Column, Dialect, Table
from sqlalchemy import types as sqltypes
from sqlalchemy.dialects.postgresql import CIDR, DATERANGE, INET, INT4RANGE, INTERVAL, MACADDR, MACADDR8, NUMRANGE
from sqlalchemy.dialects.postgresql.ranges import AbstractSingleRange
from sqlalchemy.orm import Mapper
from sqlalchemy.types import TypeDecorator, TypeEngine

from streamfea.orm.internals import json_dumps_of, takes_no_context, wraps_values_in_sql

__all__ = ["LEFT_OUT", "ORDINARY", "Field", "as_sent", "copied_fields"]

LEFT_OUT: Final = object()
"""The column is not written: the server gives it a value."""

ORDINARY: Final = object()
"""What the column gets is for an ordinary flush to say."""


@dataclass(frozen=True, slots=True)
class Field:
    """A column: the attribute that holds its value, its name, plain and quoted, and how a value is bound.

    `types` are the exact types that a bound value may have, `trusted` tells whether it may be written.
    `when_empty` returns what is written for an attribute that is None or not set, `LEFT_OUT` or `ORDINARY`; where one
    that is not set is always left out, `is_left_out`. A `required` column must not be NULL. One is `shown_as_it_is` if
    PostgreSQL writes bound values as `str()` does.
    """

    key: str
    column: str
    name: str
    process: Callable[[Any], Any] | None
    types: frozenset[type]
    trusted: Callable[[Any], bool] | None
    when_empty: Callable[[dict[str, Any]], Any] | None
    is_left_out: bool
    required: bool
    shown_as_it_is: bool

    @property
    def is_written_as_it_is(self) -> bool:
        """Whether a value's type alone tells whether it may be written, and it is written unchanged."""
        return self.process is None and self.trusted is None


def copied_fields(mapper: Mapper[Any], table: Table, dialect: Dialect, generated: Collection[str] = ()) -> list[Field]:
    """Return the fields of the columns of `table` that `mapper` maps, without those that PostgreSQL computes.

    `generated` are the columns that are always the server's to fill: it refuses an INSERT with a value for them, and
    takes a COPY with one.
    """
    quote = dialect.identifier_preparer.quote
    mapped = {attribute.columns[0]: attribute.key for attribute in mapper.column_attrs}
    return [
        _field(mapped[column], as_sent(quote(column.name)), column, table, dialect, column.name in generated)
        for column in table.columns
        if column in mapped and column.computed is None
    ]


def as_sent(quoted: str) -> str:
    """Return an identifier for COPY that SQLAlchemy has quoted for statements with parameters, with `%` doubled."""
    return quoted.replace("%%", "%")


def _field(key: str, name: str, column: Column[Any], table: Table, dialect: Dialect, is_generated: bool) -> Field:
    implementation = column.type.dialect_impl(dialect)
    process = _fixed(implementation, implementation.bind_processor(dialect), dialect)
    types, trusted = _trusted(implementation)
    if is_generated or (column.identity is not None and column.identity.always):
        types = frozenset()
    if getattr(column.type, "precision", None) is not None and not isinstance(column.type, sqltypes.Numeric):
        types = frozenset()  # a cast to the type without its precision comes first in an INSERT: rounded twice
    fallback = _leave_out if is_generated else _default(column, table)
    return Field(
        key,
        column.name,
        name,
        process,
        types,
        trusted,
        _when_empty(key, column, fallback),
        fallback is _leave_out or (fallback is None and column.type.should_evaluate_none),
        not column.nullable,
        _is_shown_as_it_is(implementation),
    )


def _fixed(
    implementation: TypeEngine[Any], process: Callable[[Any], Any] | None, dialect: Dialect
) -> Callable[[Any], Any] | None:
    """Return a function that copies a value, so that its handler cannot change it later."""
    kind = _innermost(implementation)
    if isinstance(kind, sqltypes.ARRAY):
        return lambda value: _copied(value if process is None else process(value))
    if process is not None and isinstance(kind, sqltypes.JSON):
        dumps = json_dumps_of(dialect) or json.dumps
        return lambda value: _as_text(process(value), dumps)
    if process is not None and isinstance(kind, sqltypes.LargeBinary):
        return lambda value: _as_bytes(process(value))
    return process


def _copied(value: Any) -> Any:
    return value[:] if type(value) is list else value


def _as_text(value: Any, dumps: Callable[[Any], str | bytes]) -> Any:
    if not isinstance(value, (Json, Jsonb)):
        return value
    encoded = (value.dumps or dumps)(value.obj)
    return encoded if isinstance(encoded, str) else encoded.decode()


def _as_bytes(value: Any) -> Any:
    return bytes(value.obj) if isinstance(value, psycopg.Binary) else value


def _trusted(implementation: TypeEngine[Any]) -> tuple[frozenset[type], Callable[[Any], bool] | None]:
    """Return the types that bound values may have, none if all take the ordinary way, and a look at the value."""
    kind = _innermost(implementation)
    if wraps_values_in_sql(implementation):
        return frozenset(), None
    for kinds, types, look in _TRUSTED:
        if isinstance(kind, kinds):
            return frozenset(types), (look(kind) if look is not None else None)
    return frozenset(), None


def _is_shown_as_it_is(implementation: TypeEngine[Any]) -> bool:
    kind = _innermost(implementation)
    is_padded = isinstance(kind, (sqltypes.CHAR, sqltypes.NCHAR))
    return isinstance(kind, (sqltypes.String, sqltypes.Integer, sqltypes.Uuid)) and not is_padded


def _innermost(implementation: TypeEngine[Any]) -> Any:
    kind: Any = implementation
    while isinstance(kind, TypeDecorator):
        kind = kind.impl_instance
    return kind


def _when_empty(
    key: str, column: Column[Any], fallback: Callable[[], Any] | None
) -> Callable[[dict[str, Any]], Any] | None:
    """Return the default that the ORM inserts for an attribute that is None or not set; None if that is NULL."""
    if not column.type.should_evaluate_none:
        return None if fallback is None else lambda _: fallback()
    if fallback is None:  # the column is left to the database, which may have a default that the model does not know
        return lambda given: ORDINARY if key in given else LEFT_OUT
    return lambda given: ORDINARY if key in given else _unless_none(fallback())


def _unless_none(default: Any) -> Any:
    return ORDINARY if default is None else default


def _default(column: Column[Any], table: Table) -> Callable[[], Any] | None:
    default: Any = column.default
    if default is not None:
        if default.is_scalar:
            return lambda: default.arg
        if default.is_callable and takes_no_context(default.arg):
            return lambda: default.arg(None)
        return lambda: ORDINARY
    if column.server_default is not None or column.identity is not None or column is table.autoincrement_column:
        return _leave_out
    return (lambda: ORDINARY) if column.primary_key else None


def _leave_out() -> object:
    return LEFT_OUT


def _array(kind: sqltypes.ARRAY[Any]) -> Callable[[Any], bool]:
    types, trusted = _trusted(kind.item_type)
    alike = types if types <= {int, str, bool, float, UUID} else types & {Decimal, datetime, date}
    if trusted is not None:
        alike = frozenset()

    def look(value: Any) -> bool:
        kinds = {type(item) for item in value if item is not None}
        return len(kinds) <= 1 and kinds <= alike

    return look


def _timestamp(kind: sqltypes.DateTime) -> Callable[[Any], bool] | None:
    if getattr(kind, "precision", None) is not None:
        return _never
    # A zone is ignored by the input function of a type without one, and not by a cast to it.
    return None if kind.timezone else _has_no_zone


def _time(kind: sqltypes.Time) -> Callable[[Any], bool]:
    return _never if getattr(kind, "precision", None) is not None or kind.timezone else _has_no_zone


def _double(kind: sqltypes.Float[Any]) -> Callable[[Any], bool] | None:
    # A parameter is a double first, so anything narrower would be rounded twice.
    return None if kind.precision is None and not isinstance(kind, sqltypes.REAL) else _never


def _range(kind: AbstractSingleRange[Any]) -> Callable[[Any], bool]:
    """Trust ranges whose bounds are what a parameter's range type would be told by."""
    bound = next((bound for kinds, bound in _BOUNDS.items() if isinstance(kind, kinds)), None)

    def look(value: Any) -> bool:
        return all(type(each) is bound or each is None for each in (value.lower, value.upper))

    return look


def _unlimited(kind: Any) -> Callable[[Any], bool] | None:
    limits = (getattr(kind, "precision", None), getattr(kind, "fields", None))
    return None if limits == (None, None) else _never


def _has_no_zone(value: Any) -> bool:
    return type(value) is str or value.tzinfo is None


def _never(_: Any) -> bool:
    return False


_BOUNDS: dict[Any, type] = {INT4RANGE: int, NUMRANGE: Decimal, DATERANGE: date}
_Look = Callable[[Any], Callable[[Any], bool] | None]
# Kinds of columns, most special first; the types that bound values may have; how to look at a value, if need be.
_TRUSTED: tuple[tuple[Any, set[type], _Look | None], ...] = (
    (sqltypes.ARRAY, {list}, _array),
    ((sqltypes.Enum, sqltypes.String), {str}, None),
    (sqltypes.Boolean, {bool}, None),
    (sqltypes.Integer, {int}, None),
    (sqltypes.Float, {float, int}, _double),
    (sqltypes.Numeric, {Decimal, int}, None),
    (sqltypes.DateTime, {datetime, str}, _timestamp),
    (sqltypes.Date, {date, str}, None),
    (sqltypes.Time, {time, str}, _time),
    ((sqltypes.Interval, INTERVAL), {timedelta}, _unlimited),
    (sqltypes.Uuid, {UUID}, None),
    (sqltypes.JSON, {str}, None),  # a text by now
    (sqltypes.LargeBinary, {bytes}, None),
    (INET, {str, IPv4Address, IPv6Address, IPv4Interface, IPv6Interface}, None),
    (CIDR, {str, IPv4Network, IPv6Network}, None),
    ((MACADDR, MACADDR8), {str}, None),
    (AbstractSingleRange, {Range}, _range),
)
