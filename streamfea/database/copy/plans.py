"""Decides which new rows COPY may write: those for which the result is the same as that of an ordinary flush.

A flush costs more than all the rest of a record. Where an object is nothing but a new row of plain columns, its values
go to the table in one COPY with the others', bound by SQLAlchemy's own processors and with its own defaults. Whatever
is more than that takes the ordinary way: relationships, listeners, inheritance, versions, SQL expressions, types or
values that COPY could read differently than INSERT, and objects that the handler still holds.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import contains, itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Dialect, Table, text
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import InstanceState, Mapper, class_mapper
from sqlalchemy.orm.exc import UnmappedClassError

from streamfea.database.copy.columns import LEFT_OUT, ORDINARY, as_sent, copied_fields
from streamfea.database.copy.inserts import insert_of
from streamfea.orm.internals import is_strongly_held, orm_insert_defaults
from streamfea.orm.lazy_state import STATE, plain_attributes

__all__ = ["Layout", "Plan", "Plans", "Reference", "Row", "is_held"]

# The reference count of an object that only one list refers to. It differs between versions of Python.
_probe = [object()]
_ALONE = sys.getrefcount(_probe[0])

# How many combinations of attribute names are cached for each class.
_SHAPES = 1_000

# Rules are not applied to COPY, row security forbids it. A trigger sees, and may do, something else when the rows of
# many records come at once. And COPY takes values for an identity that is GENERATED ALWAYS.
_ABOUT_TABLE = text(
    "SELECT oid, relkind IN ('r', 'p') AND NOT relhasrules AND NOT relrowsecurity "
    "AND NOT EXISTS (SELECT FROM pg_trigger WHERE NOT tgisinternal AND tgtype & 4 <> 0 AND (tgrelid = pg_class.oid "
    "OR tgrelid IN (SELECT relid FROM pg_partition_tree(pg_class.oid)))) AS is_ordinary, "
    "ARRAY(SELECT format('%I.%I', nspname, conname) FROM pg_constraint JOIN pg_namespace n ON n.oid = connamespace "
    "WHERE conrelid = pg_class.oid AND condeferred) AS deferred, "
    "ARRAY(SELECT attname FROM pg_attribute WHERE attrelid = pg_class.oid AND attidentity = 'a') AS generated "
    "FROM pg_class WHERE oid = to_regclass(:name)"
)
_REFERENCES = text(
    "SELECT confrelid AS referenced, "
    "ARRAY(SELECT attname FROM unnest(conkey) WITH ORDINALITY AS k (number, place) "
    "JOIN pg_attribute ON attrelid = conrelid AND attnum = number ORDER BY place) AS columns, "
    "ARRAY(SELECT attname FROM unnest(confkey) WITH ORDINALITY AS k (number, place) "
    "JOIN pg_attribute ON attrelid = confrelid AND attnum = number ORDER BY place) AS keys "
    "FROM pg_constraint WHERE contype = 'f' AND conrelid = :oid"
)


class Reference(NamedTuple):
    """A foreign key: the table that it leads to, its columns there (`keys`), and its own `columns`."""

    referenced: int
    columns: Sequence[str]
    keys: Sequence[str]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The columns that rows of a plan are written to, and the statement that does.

    `parameters` are those of an INSERT, one for each column; None for COPY.
    """

    plan: "Plan"
    columns: tuple[str, ...]
    statement: str
    parameters: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Shape:
    """How the values of a layout's columns are taken from an object, and their types if each is written as it is."""

    layout: Layout
    values: Callable[[dict[str, Any]], tuple[Any, ...]]
    types: tuple[frozenset[type], ...]


@dataclass(slots=True)
class Row:
    """A new object whose record has ended, with the values that it is written with.

    One that `lacks` a value is known to fail before it is tried. `defaults` are the attributes that got their values
    from the model's defaults, which may give one only once.
    """

    entry_id: str
    instance: object
    layout: Layout
    values: Sequence[Any]
    lacks: bool = False
    defaults: Sequence[tuple[str, Any]] = ()

    @property
    def plan(self) -> "Plan":
        """How objects of its class are written."""
        return self.layout.plan

    def hand_back(self) -> None:
        """Give the values of defaults to the object, for the flush that it takes instead."""
        _set_all(self.instance, self.defaults)

    def value_of(self, column: str) -> Any:
        """Return the value for a column; `LEFT_OUT` if the server has a default."""
        name = self.plan.names.get(column)
        return self.values[self.layout.columns.index(name)] if name in self.layout.columns else LEFT_OUT

    def shown(self, columns: Sequence[str]) -> str | None:
        """Return the values of these columns as PostgreSQL names a key in an error; None if that may look different."""
        values = [self._shown(column, alone=len(columns) == 1) for column in columns]
        return None if None in values else ", ".join(map(str, values))

    def _shown(self, column: str, *, alone: bool) -> str | None:
        if column not in self.plan.shown_as_they_are or column not in self.layout.columns:
            return None
        value = self.values[self.layout.columns.index(column)]
        if isinstance(value, str):  # two that hold the separator may look alike, and trailing blanks may be cut off
            return value if alone and not value.endswith(" ") else None
        return None if value is None else str(value)


class Plans:
    """How new objects of mapped classes are written to one database; looked up once for each class."""

    def __init__(self, *, by_copy: bool = True) -> None:
        self._by_copy = by_copy
        self._known: dict[type, Plan | None] = {}

    def of(self, model: type, connect: Callable[[], Connection]) -> "Plan | None":
        """Return how objects of `model` can be written fast; None when they have to take the ordinary way.

        `connect` is called when the database has to be asked for it.
        """
        if model not in self._known:
            self._known[model] = _plan(model, connect(), by_copy=self._by_copy)
        plan = self._known[model]
        return None if plan is None or plan.is_observed else plan

    def forget(self) -> None:
        """Look all of it up anew: a name may stand for another table from now on."""
        self._known.clear()


class Plan:
    """How new objects of one mapped class are written to the table with the number `oid`.

    `deferred` are the constraints that COMMIT would check, `generated` the columns that no row may bring a value for.
    """

    def __init__(
        self,
        mapper: Mapper[Any],
        table: Table,
        name: str,
        dialect: Dialect,
        *,
        oid: int = 0,
        deferred: Sequence[str] = (),
        generated: Sequence[str] = (),
        references: Sequence[Reference] = (),
        by_copy: bool = True,
    ) -> None:
        self._dialect = dialect
        self._by_copy = by_copy
        self.table = table
        self.name = name
        self.oid = oid
        self.deferred = deferred
        self.references = references
        self.mapper = mapper
        model: Any = mapper.class_  # mypy takes a class for not hashable
        self.model_name = f"{model.__module__}.{model.__name__}"
        self._fields = copied_fields(mapper, table, dialect, generated)
        self.names = {field.column: field.name for field in self._fields}
        self.shown_as_they_are = {field.name for field in self._fields if field.shown_as_it_is}
        self._allowed = (plain_attributes(model) & {field.key for field in self._fields}) | {STATE}
        self._layouts: dict[tuple[str, ...], Layout] = {}
        self._shapes: dict[tuple[str, ...], _Shape | None] = {}

    def refers_to(self, other: "Plan") -> bool:
        """Tell whether the table has a foreign key to the other's."""
        return any(reference.referenced == other.oid for reference in self.references)

    @property
    def is_observed(self) -> bool:
        """Whether somebody listens to the class' objects being written."""
        of_mapper: Any = self.mapper.dispatch
        of_object: Any = self.mapper.class_manager.dispatch
        return bool(of_mapper.before_insert or of_mapper.after_insert or of_object.refresh_flush or of_object.expire)

    def row(self, entry_id: str, instance: object) -> Row | None:
        """Return an object's row; None when it has to take the ordinary way."""
        given = instance.__dict__
        names = tuple(given)
        try:
            shape = self._shapes[names]
        except KeyError:
            shape = self._shape(names)
        if shape is not None:
            values = shape.values(given)
            if all(map(contains, shape.types, map(type, values))):
                return Row(entry_id, instance, shape.layout, values)
        return self._row_by_values(entry_id, instance)

    def _row_by_values(self, entry_id: str, instance: object) -> Row | None:
        """Return the row of an object whose attributes alone do not tell how each value is written."""
        given = instance.__dict__
        if not given.keys() <= self._allowed:
            return None
        values: list[Any] = []
        left_out: list[str] = []
        defaults: list[tuple[str, Any]] = []
        lacks = False
        for field in self._fields:
            value = given.get(field.key)
            if value is None and field.when_empty is not None:
                value = field.when_empty(given)
                if value is LEFT_OUT:
                    left_out.append(field.name)
                    continue
                if value is not None and value is not ORDINARY:
                    defaults.append((field.key, value))
            if value is not None:
                if field.process is not None and value is not ORDINARY:
                    value = field.process(value)
                if type(value) not in field.types or (field.trusted is not None and not field.trusted(value)):
                    _set_all(instance, defaults)
                    return None
            elif field.required:
                lacks = True
            values.append(value)
        return Row(entry_id, instance, self._layout_without(tuple(left_out)), values, lacks, defaults)

    def _shape(self, names: tuple[str, ...]) -> "_Shape | None":
        """Return how objects are written whose attributes have these names; None if that takes a look at each value."""
        if len(self._shapes) >= _SHAPES:
            self._shapes.clear()
        shape = None
        written = [field for field in self._fields if field.key in names]
        left_out = [field for field in self._fields if field.key not in names]
        are_all_usual = all(field.is_written_as_it_is for field in written) and all(
            field.is_left_out for field in left_out
        )
        if are_all_usual and self._allowed.issuperset(names):
            layout = self._layout_without(tuple(field.name for field in left_out))
            shape = _Shape(layout, _values([field.key for field in written]), tuple(field.types for field in written))
        self._shapes[names] = shape
        return shape

    def _layout_without(self, left_out: tuple[str, ...]) -> Layout:
        layout = self._layouts.get(left_out)
        if layout is None:
            written = [field for field in self._fields if field.name not in left_out]
            columns = tuple(field.name for field in written)
            layout = Layout(self, columns, f"COPY {self.name} ({', '.join(columns)}) FROM STDIN")
            if not self._by_copy:
                insert = insert_of(self.table, [field.column for field in written], self._dialect)
                layout = Layout(self, columns, *insert)
            self._layouts[left_out] = layout
        return layout


def _set_all(instance: object, attributes: Sequence[tuple[str, Any]]) -> None:
    for name, value in attributes:
        setattr(instance, name, value)


def _values(keys: Sequence[str]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """Return a function that takes the values of these keys, in this order."""
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda given: tuple(given[key] for key in keys)


def is_held(instances: Sequence[object], index: int) -> bool:
    """Tell whether anybody but this list, and SQLAlchemy's own state of the object, refers to an object in it."""
    others = sys.getrefcount(instances[index]) - _ALONE
    if others <= 0:
        return False
    state = instances[index].__dict__.get(STATE)
    return others > int(isinstance(state, InstanceState) and is_strongly_held(state))


def _plan(model: type, connection: Connection, *, by_copy: bool) -> Plan | None:
    try:
        mapper: Mapper[Any] = class_mapper(model)
    except (UnmappedClassError, NoInspectionAvailable):
        return None
    table = mapper.local_table
    if not isinstance(table, Table) or not _is_simple(mapper):
        return None
    name = as_sent(connection.dialect.identifier_preparer.format_table(table))
    about = connection.execute(_ABOUT_TABLE, {"name": name}).one_or_none()
    if about is None or not about.is_ordinary:
        return None
    references = [Reference(*row) for row in connection.execute(_REFERENCES, {"oid": about.oid})]
    return Plan(
        mapper,
        table,
        name,
        connection.dialect,
        oid=about.oid,
        deferred=about.deferred,
        generated=about.generated,
        references=references,
        by_copy=by_copy,
    )


def _is_simple(mapper: Mapper[Any]) -> bool:
    """Tell whether a new object is one row of one table, whose content depends on its values only."""
    of_its_own = mapper.inherits is None and mapper.polymorphic_on is None and len([*mapper.self_and_descendants]) == 1
    one_to_one = all(len(attribute.columns) == 1 for attribute in mapper.column_attrs)
    mapped = {attribute.columns[0] for attribute in mapper.column_attrs}
    defaults_of_others = any(column.default is not None for column in mapper.local_table.c if column not in mapped)
    other_defaults = orm_insert_defaults(mapper) or defaults_of_others
    return of_its_own and one_to_one and not other_defaults and mapper.version_id_col is None
