"""What a handler declares its tables with.

    from streamfea.model import Base

    class Reading(Base):
        __tablename__ = "reading"
        id: Mapped[int] = mapped_column(primary_key=True)

Classic `Column` attributes work as well as typed `Mapped[...]` ones. `View` is a materialised view, `NullableBoolean`
a boolean whose "unknown" is a value. `DbSession` is the type of a handler's session.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import (
    Column,
    ColumnDefault,
    CreateView,
    Dialect,
    Enum,
    Index,
    MetaData,
    Table,
    TypeDecorator,
    event,
    inspect,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    InstanceState,
    Query,
)
from sqlalchemy.sql import operators

from streamfea.orm.internals import attach
from streamfea.orm.lazy_state import DROP, REJECT, STATE, ModelType, WithLazyState

if TYPE_CHECKING:
    from streamfea.database.session.session import DbSession

__all__ = ["Base", "DbSession", "NullableBoolean", "View", "is_view"]

# Constraints get names that do not depend on the server, so that a migration can find them again: Alembic's
# documentation, "The Importance of Naming Constraints".
_NAMING_CONVENTION = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def __getattr__(name: str) -> Any:
    """Return `DbSession`, which is in a layer above this one: only handlers take it from here."""
    if name != "DbSession":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from streamfea.database.session.session import DbSession  # noqa: PLC0415 - see above

    return DbSession


class Base(WithLazyState, DeclarativeBase, metaclass=ModelType):
    """The base of every model; its tables are those that `streamfea initdb` creates."""

    metadata = MetaData(naming_convention=_NAMING_CONVENTION)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if cls.__unknown_keys__ not in {DROP, REJECT}:
            raise ValueError(f"{cls.__name__}.__unknown_keys__ is {cls.__unknown_keys__!r}: write 'drop' or 'reject'")
        super().__init_subclass__(**kwargs)

    def __str__(self) -> str:
        """Return `# module.Class` and a `* name: value` line for each attribute that is set, sorted by name.

        A relationship shows the ids of what it leads to, `new` for what has none yet. Only what is loaded already is
        shown, and after the handler's own commit what had been: printing an object never sends a query.
        """
        state: InstanceState[Any] = inspect(self)
        relationships = state.mapper.relationships.keys()
        known = {**_keys_of(state), **state.info.get(_COMMITTED, {}), **state.dict}
        lines = [f"# {type(self).__module__}.{type(self).__qualname__}"]
        for name in sorted(state.mapper.attrs.keys()):
            value = known.get(name)
            if value is not None:
                lines.append(f"* {name}: {_related_ids(value) if name in relationships else value}")
        return "\n".join(lines)


def remember(instances: Iterable[object]) -> None:
    """Keep the values of `instances` for `str()`, before a commit expires them."""
    for instance in instances:
        state: InstanceState[Any] = inspect(instance, raiseerr=True)
        names = state.mapper.attrs.keys()
        state.info[_COMMITTED] = {name: state.dict[name] for name in names if name in state.dict}


class View(Base):
    """The base of every materialised view: a class with `__tablename__` and `__query__`.

        class ReadingsPerDay(View):
            __tablename__ = "readings_per_day"
            __query__ = select(Reading.day, func.count().label("readings")).group_by(Reading.day)
            __table_args__ = (Index("ix_readings_per_day_day", "day", unique=True),)

    `__query__` is a `select()` or a `Query`; its columns are the view's. Query a view as any model. Its content is
    that of its creation or of the last `streamfea refresh-views`, which keeps readers out unless the view has a
    unique index (PostgreSQL manual, REFRESH MATERIALIZED VIEW).
    """

    __abstract__ = True
    __query__: ClassVar[Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if not cls.__dict__.get("__abstract__", False):
            _map_to_view(cls)
        super().__init_subclass__(**kwargs)


class NullableBoolean(TypeDecorator[bool | None]):
    """True, False or None in Python; in PostgreSQL the enum `nullable_boolean_enum` of true, false and unknown.

    Declare it NOT NULL: then a UNIQUE constraint takes two unknowns for the same value, which it would not do with
    two NULLs, and comparing with None in a query is as comparing with any other value.
    """

    impl = Enum
    cache_ok = True
    coerce_to_is_types = ()  # otherwise `column == None` is sent as IS NULL
    should_evaluate_none = True  # None is written even where the column has a default

    def __init__(self) -> None:
        super().__init__("true", "false", "unknown", name="nullable_boolean_enum")

    class comparator_factory(TypeDecorator.Comparator[bool | None]):  # noqa: N801 - SQLAlchemy's name
        """Takes `is_(None)` for `== None`: nothing is NULL here."""

        def operate(self, op: Any, *other: Any, **kwargs: Any) -> Any:
            """Build the expression for `op`."""
            equality = {operators.is_: operators.eq, operators.is_not: operators.ne}
            return super().operate(equality.get(op, op), *other, **kwargs)

    def process_bind_param(self, value: object, _dialect: Dialect) -> str:
        """Return the enum's label for `value`; raises `ValueError` for what is none of True, False, None, 0 and 1."""
        if value is None:
            return "unknown"
        if not isinstance(value, int) or value not in {0, 1}:
            raise ValueError(f"{value!r:.80} is no NullableBoolean: it must be True, False, None, 0 or 1")
        return "true" if value else "false"

    def process_result_value(self, value: str | None, _dialect: Dialect) -> bool | None:
        """Return the Python value of an enum's label."""
        return {"true": True, "false": False}.get(value or "")

    @property
    def python_type(self) -> type[bool]:
        """The type of the values in Python."""
        return bool


@event.listens_for(Column, "before_parent_attach")
def _unset_is_unknown(column: Column[Any], _table: Table) -> None:
    """Have an attribute that was never set written as unknown: SQLAlchemy would leave the column out."""
    if isinstance(column.type, NullableBoolean) and column.default is None and column.server_default is None:
        default = ColumnDefault(lambda: None)
        attach(default, column)


def is_view(table: Table) -> bool:
    """Tell whether `table` is a materialised view's."""
    return _CREATE_VIEW in table.info


_CREATE_VIEW = "streamfea.view"
_COMMITTED = "streamfea.committed"


def create_view(table: Table) -> CreateView:
    """Return the statement that creates the view whose table this is."""
    statement: CreateView = table.info[_CREATE_VIEW]
    return statement


def _map_to_view(model: Any) -> None:
    """Give `model` the table that SQLAlchemy makes of its query, with its indexes, and a key to tell its rows by."""
    query: Any = model.__query__.statement if isinstance(model.__query__, Query) else model.__query__
    creation = CreateView(query, model.__tablename__, metadata=model.metadata, materialized=True)
    table = creation.table
    table.info[_CREATE_VIEW] = creation
    arguments: Iterable[Any] = model.__dict__.get("__table_args__", ())
    for index in (argument for argument in arguments if isinstance(argument, Index)):
        attach(index, table)
    model.__table__ = table
    model.__mapper_args__ = {"primary_key": _key(table, query), **model.__dict__.get("__mapper_args__", {})}


def _key(table: Table, query: Any) -> list[Column[Any]]:
    """Return the columns of a unique index, else those that are keys in their tables, else all."""
    for index in table.indexes:
        if index.unique:
            return list(index.columns)
    keys = [table.c[column.key] for column in query.selected_columns if getattr(column, "primary_key", False)]
    return keys or list(table.c)


def _related_ids(value: Any) -> Any:
    """Return the id of the object that a relationship leads to, or the list of ids of several."""
    if hasattr(value, STATE):
        return _identity(value)
    objects = value.values() if isinstance(value, dict) else value
    return [_identity(related) for related in objects]


def _identity(related: object) -> Any:
    state: InstanceState[Any] = inspect(related, raiseerr=True)
    keys = [state.mapper.get_property_by_column(column).key for column in state.mapper.primary_key]
    known = {**_keys_of(state), **state.dict}
    identity = [known.get(key) for key in keys]
    if None in identity:
        return "new"
    return identity[0] if len(identity) == 1 else tuple(identity)


def _keys_of(state: InstanceState[Any]) -> dict[str, Any]:
    """Return the primary key of an object that is in the database, which is known even after a commit."""
    keys = (state.mapper.get_property_by_column(column).key for column in state.mapper.primary_key)
    return dict(zip(keys, state.identity or (), strict=False))
