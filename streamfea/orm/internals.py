"""All that streamfea relies on in SQLAlchemy beyond its documented API, and the version that it was tried with.

Nothing else in streamfea names a private attribute of SQLAlchemy. With a version that is not known, records take the
plain way: a session and a transaction each, SQLAlchemy's own constructor, no COPY. That is slow, and right.
"""

from collections.abc import Iterable
from inspect import isfunction
from typing import Any

import sqlalchemy
from sqlalchemy import Column, Dialect, Index, Table
from sqlalchemy import schema as sa_schema
from sqlalchemy.event import registry
from sqlalchemy.orm import InstanceState, Mapper, Session, SessionTransaction
from sqlalchemy.orm import attributes as orm_attributes
from sqlalchemy.orm.base import DEFAULT_STATE_ATTR, NO_VALUE
from sqlalchemy.orm.decl_api import DCTransformDeclarative as ModelMeta
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from streamfea.core.known_versions import KnownVersions

__all__ = [
    "STATE",
    "VERSIONS",
    "ModelMeta",
    "attach",
    "bind_processors_of",
    "cache_key_of",
    "cached_compiled",
    "configure",
    "count_listeners",
    "deleted_in",
    "has_constructor",
    "holds_objects",
    "is_known",
    "is_orm_enabled",
    "is_plain_scalar",
    "is_strongly_held",
    "json_dumps_of",
    "make_state",
    "orm_insert_defaults",
    "root_transaction",
    "save",
    "set_up_state",
    "takes_no_context",
    "wraps_values_in_sql",
]

VERSIONS = KnownVersions(
    "SQLAlchemy",
    sqlalchemy.__version__,
    (2, 1, 7),
    (2, 2),
    "every record gets a transaction of its own, without COPY",
)


def is_known() -> bool:
    """Tell whether the private parts of the installed SQLAlchemy are known."""
    return VERSIONS.has_installed


# Models

STATE = DEFAULT_STATE_ATTR
"""The attribute of an object that holds its state, `_sa_instance_state`; `WithLazyState` has a descriptor so called."""


def is_plain_scalar(attribute: Any) -> bool:
    """Tell whether setting a column's attribute does no more than that: `_ScalarAttributeImpl`, and no listener."""
    return type(attribute) is orm_attributes._ScalarAttributeImpl and not attribute.dispatch.set


def configure(model: Any) -> None:
    """Configure mappers if others have come since, as SQLAlchemy's constructor does: `Mapper._check_configure()`."""
    model.__mapper__._check_configure()


def has_constructor(mapper: Mapper[Any], constructor: Any) -> bool:
    """Tell whether objects are made by `constructor`, which SQLAlchemy has wrapped, and only the mapper hears of it.

    `ClassManager.original_init` and `new_init` are the function and its wrapper. `dispatch.init` has the listeners.
    """
    manager: Any = mapper.class_manager
    is_wrapped = manager.original_init == constructor and mapper.class_.__init__ == manager.new_init
    return is_wrapped and len(list(manager.dispatch.init)) == 1


def make_state(instance: Any, names: Iterable[str]) -> Any:
    """Return a new state for an object, as if each attribute of `names` had been set for the first time.

    A state is made with `_sa_class_manager`. `committed_state` has what each changed attribute was before, `modified`
    whether there is any.
    """
    state: Any = InstanceState(instance, type(instance)._sa_class_manager)
    state.committed_state = dict.fromkeys(names, NO_VALUE)
    state.modified = bool(state.committed_state)
    return state


def set_up_state(instance: object) -> None:
    """Give an object that has no state one without any change: `ClassManager.setup_instance()`."""
    manager: Any = orm_attributes.manager_of_class(type(instance))
    manager.setup_instance(instance)


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


def takes_no_context(function: Any) -> bool:
    """Tell whether SQLAlchemy has wrapped a default's function without parameters, to drop the context that it passes.

    Such a wrapper comes from the file that has `Column`.
    """
    own = sa_schema.Column.__init__.__code__.co_filename
    return isfunction(function) and function.__code__.co_filename == own


# Types


def wraps_values_in_sql(type_: TypeEngine[Any]) -> bool:
    """Tell whether a type sends a value inside an SQL expression, which COPY cannot: `_has_bind_expression`."""
    private: Any = type_
    return bool(private._has_bind_expression)


def json_dumps_of(dialect: Dialect) -> Any:
    """Return the engine's `json_serializer`, or None: `Dialect._json_serializer`."""
    private: Any = dialect
    return private._json_serializer


# Statements


def cached_compiled(
    statement: Any, dialect: Dialect, cache: dict[Any, Any], column_keys: list[str]
) -> tuple[SQLCompiler | None, Any]:
    """Return a statement's SQL, compiled once for all of its kind, and its own bound parameters: `_compile_w_cache()`.

    None for a statement whose kind cannot be told, which would be compiled each time.
    """
    compiled, own, _, _ = statement._compile_w_cache(dialect, compiled_cache=cache, column_keys=column_keys)
    return (None if own is None else compiled), own


def cache_key_of(statement: Any) -> Any:
    """Return what statements of a kind have in common, whatever their values, or None: `_generate_cache_key()`."""
    key = statement._generate_cache_key()
    return None if key is None else key.key


def bind_processors_of(compiled: SQLCompiler) -> dict[str, Any]:
    """Return the functions that turn values into what the driver gets, by parameter: `_bind_processors`."""
    return dict(compiled._bind_processors)


def is_orm_enabled(statement: Any) -> bool:
    """Tell whether the ORM executes a statement, after an autoflush: `_propagate_attrs`."""
    return bool(statement._propagate_attrs.get("compile_state_plugin") == "orm")


# Sessions
#
# `DbSession` has a property in place of `Session._new`, the dictionary in which SQLAlchemy keeps new objects by their
# states: without it, objects that are set aside would be missing from `session.new`, and from autoflush. It passes on
# `add(_warn=)`. `NewRows` puts `Session.hash_key` into states as `session_id`, as SQLAlchemy does.


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


def count_listeners() -> int:
    """Return how many listeners SQLAlchemy has for anything: `sqlalchemy.event.registry._key_to_collection`.

    While that stays the same, nobody has begun to listen.
    """
    return len(registry._key_to_collection)
