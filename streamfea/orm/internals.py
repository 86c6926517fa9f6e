"""All that streamfea relies on in SQLAlchemy beyond its documented API, and the version that it was tried with.

Nothing else in streamfea names a private attribute of SQLAlchemy. With a version that is not known, records take the
plain way: a session and a transaction each, SQLAlchemy's own constructor, no COPY. That is slow, and right.
"""

import re
from typing import Any

import sqlalchemy
from sqlalchemy import Column, Connection, Dialect, Engine, Index, Table
from sqlalchemy.event import registry
from sqlalchemy.orm import Mapper, Session, SessionTransaction
from sqlalchemy.orm import attributes as orm_attributes
from sqlalchemy.sql.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from streamfea.core.advice import Advice

__all__ = [
    "KNOWN",
    "advice",
    "attach",
    "class_manager_of",
    "configure",
    "count_listeners",
    "deleted_in",
    "holds_objects",
    "is_known",
    "is_plain_scalar",
    "is_strongly_held",
    "json_dumps_of",
    "look_at_version",
    "orm_insert_defaults",
    "root_transaction",
    "save",
    "use_connections",
    "wraps_values_in_sql",
]

KNOWN = ((2, 1, 7), (2, 2))
"""Private parts are known from the first of these versions to the one before the second."""


def is_known() -> bool:
    """Tell whether the private parts of the installed SQLAlchemy are known."""
    return _is_known


def look_at_version(version: str) -> None:
    """Take `version` for the installed one."""
    global _is_known  # noqa: PLW0603 - asked for each batch, and it never changes but for tests
    _is_known = KNOWN[0] <= _numbers(version) < KNOWN[1]


def advice() -> Advice | None:
    """Return a word for the operator about a version that is not known."""
    if is_known():
        return None
    return Advice(
        f"SQLAlchemy {sqlalchemy.__version__} is not known: every record gets a transaction of its own, without COPY",
        f"install SQLAlchemy {'.'.join(map(str, KNOWN[0]))} or later, below {'.'.join(map(str, KNOWN[1]))}",
    )


# Models


def is_plain_scalar(attribute: Any) -> bool:
    """Tell whether setting a column's attribute does no more than that: `_ScalarAttributeImpl`, and no listener."""
    return type(attribute) is orm_attributes._ScalarAttributeImpl and not attribute.dispatch.set


def configure(model: Any) -> None:
    """Configure mappers if others have come since, as SQLAlchemy's constructor does: `Mapper._check_configure()`."""
    model.__mapper__._check_configure()


def class_manager_of(model: Any) -> Any:
    """Return what an object's state is made with: `_sa_class_manager`."""
    return model._sa_class_manager


def is_strongly_held(state: Any) -> bool:
    """Tell whether a state refers to its object, which then counts as a reference: `InstanceState._strong_obj`."""
    return state._strong_obj is not None


def orm_insert_defaults(mapper: Mapper[Any]) -> bool:
    """Tell whether the ORM delivers defaults that no column knows: `Mapper._insert_orm_defaults`."""
    private: Any = mapper
    return any(private._insert_orm_defaults.values())


def attach(item: SchemaItem, parent: Column[Any] | Table) -> None:
    """Make a default a column's, or an index a table's, where the documented way comes too late."""
    private: Any = item
    if isinstance(item, Index):
        private._set_parent(parent)
    else:
        private._set_parent_with_dispatch(parent)


# Types


def wraps_values_in_sql(type_: TypeEngine[Any]) -> bool:
    """Tell whether a type sends a value inside an SQL expression, which COPY cannot: `_has_bind_expression`."""
    private: Any = type_
    return bool(private._has_bind_expression)


def json_dumps_of(dialect: Dialect) -> Any:
    """Return the engine's `json_serializer`, or None: `Dialect._json_serializer`."""
    private: Any = dialect
    return private._json_serializer


# Sessions


def holds_objects(session: Session) -> bool:
    """Tell whether the identity map has, or had, any object: `identity_map._dict`, a tenth of the time of `len()`."""
    private: Any = session.identity_map
    return bool(private._dict)


def deleted_in(session: Session) -> bool:
    """Tell whether any object is to be deleted: `Session._deleted`, without the copy that `Session.deleted` makes."""
    private: Any = session
    return bool(private._deleted)


def root_transaction(session: Session) -> SessionTransaction | None:
    """Return the innermost transaction, a savepoint's included: `Session._transaction`."""
    private: Any = session
    transaction: SessionTransaction | None = private._transaction
    return transaction


def save(session: Session, state: Any) -> None:
    """Do what `Session.add()` does with one object: `Session._save_or_update_impl()`."""
    private: Any = session
    private._save_or_update_impl(state)


def use_connections(engine: Engine, kind: type[Connection]) -> None:
    """Have an engine make connections of this class: `Engine._connection_cls`."""
    private: Any = engine
    private._connection_cls = kind


def count_listeners() -> int:
    """Return how many listeners SQLAlchemy has for anything: `sqlalchemy.event.registry._key_to_collection`.

    While that stays the same, nobody has begun to listen.
    """
    return len(registry._key_to_collection)


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with: (2, 2, 0) of 2.2.0b1."""
    return tuple(int(found) for found in re.match(r"[\d.]*\d", version).group().split("."))  # type: ignore[union-attr]  # all begin with one


_is_known = False
look_at_version(sqlalchemy.__version__)
