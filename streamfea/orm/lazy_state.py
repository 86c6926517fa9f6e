"""Creates instances of simple models without SQLAlchemy's `InstanceState`.

SQLAlchemy keeps a state beside each object: its history, its key, its session. An object that is only written needs
none, and making and dropping the state is most of the object's cost. So the state is built when something first asks
for it. Until then a placeholder stands in its place: the object's id, and the number of the session that it was added
to. A copied `__dict__` carries the other object's placeholder, and with it the other object's state, as it would with
SQLAlchemy alone.
"""

import gc
import logging
from functools import cache
from types import FunctionType
from typing import Any

from sqlalchemy import MetaData, inspect
from sqlalchemy.orm import Mapper, class_mapper, registry
from sqlalchemy.orm.attributes import instance_state

from streamfea.errors import Reject
from streamfea.orm.internals import (
    STATE,
    ModelMeta,
    configure,
    has_constructor,
    is_known,
    is_plain_scalar,
    make_state,
    set_up_state,
)

__all__ = [
    "DROP",
    "REJECT",
    "STATE",
    "ModelType",
    "WithLazyState",
    "enter_session",
    "leave_session",
    "plain_attributes",
]

log = logging.getLogger(__name__)

DROP = "drop"
"""The value of `__unknown_keys__` that has the constructor drop names that the model does not have."""

REJECT = "reject"
"""The value of `__unknown_keys__` that has the constructor raise `Reject` for them."""

# What a class has that is no place for a record's value.
_NO_DATA = (FunctionType, classmethod, staticmethod, MetaData, registry)


class ModelType(ModelMeta):
    """Creates objects without SQLAlchemy's constructor where that would only set attributes."""

    def __call__(cls, /, *arguments: Any, **attributes: Any) -> Any:  # noqa: N805 - of a class, which ruff does not see
        """Return a new object of the model."""
        plain = _given_at_once(cls)
        if plain is None or arguments:
            if "self" in attributes:  # the function that SQLAlchemy puts before a constructor has that parameter
                attributes |= _known(cls, {"self": attributes.pop("self")})
            return super().__call__(*arguments, **attributes)
        if not plain.issuperset(attributes):
            attributes = _known(cls, attributes, plain)
            if not plain.issuperset(attributes):
                return super().__call__(**attributes)
        model: Any = cls
        configure(model)  # others may have come since that lead to this one
        instance = object.__new__(model)
        attributes[STATE] = id(instance)
        instance.__dict__ = attributes
        return instance


class _LazyState:
    def __get__(self, instance: Any, _model: type | None = None) -> Any:
        if instance is None:
            raise AttributeError(STATE)
        try:
            state = instance.__dict__[STATE]
        except KeyError:
            raise AttributeError(STATE) from None
        return _made(instance, state) if _is_placeholder(state) else state

    def __set__(self, instance: Any, state: object) -> None:
        instance.__dict__[STATE] = state

    def __delete__(self, instance: Any) -> None:
        del instance.__dict__[STATE]


class WithLazyState:
    """The base of models: its objects may have no state until something asks for it."""

    _sa_instance_state = _LazyState()
    __unknown_keys__: str = DROP

    def __init__(self, /, **attributes: Any) -> None:
        """Set the given attributes; names that the model does not have are dropped, with a debug log.

        Records grow fields over time, and a new field is no reason to lose the record. Where it is one, a model says
        `__unknown_keys__ = "reject"`: then `Reject` is raised, with the names.
        """
        for name, value in _known(type(self), attributes).items():
            setattr(self, name, value)

    def __getstate__(self) -> object:
        """Return what `copy` and `pickle` make an object of: a placeholder would mean nothing elsewhere."""
        inspect(self)
        return super().__getstate__()


def enter_session(instance: object, session: int) -> bool:
    """Note that a new object is in the session of that number; return False if `Session.add()` has to see to it.

    It has to if the object is not new, is in a session already, has another object's state, or has an attribute that is
    not a plain column's: that may lead to objects which come along.
    """
    given = instance.__dict__
    if given.get(STATE) == id(instance):  # set at once, and by nobody since: all of it is plain
        given[STATE] = (session, id(instance))
        return True
    state: Any = instance_state(instance)
    is_new = state.key is None and state.session_id is None and state.obj() is instance
    model: Any = type(instance)  # mypy takes a class for not hashable
    if not is_new or not given.keys() - {STATE} <= plain_attributes(model):
        return False
    state.session_id = session
    return True


def leave_session(instance: object) -> None:
    """Undo what `enter_session()` has done, whatever else was done to the object's dictionary meanwhile."""
    given = instance.__dict__
    if STATE not in given:
        set_up_state(instance)
    elif _is_placeholder(given[STATE]):
        given[STATE] = id(instance)
    else:
        given[STATE].session_id = None


@cache
def plain_attributes(model: type) -> frozenset[str]:
    """Return the names of a mapped class' columns that nothing watches: setting one does no more than that.

    Listeners and validators have to be there before the first object is made, which is when this is looked up.
    """
    mapper: Mapper[Any] = class_mapper(model)
    names = (attribute.key for attribute in mapper.column_attrs)
    return frozenset(name for name in names if is_plain_scalar(mapper.class_manager[name].impl))


@cache
def _given_at_once(model: Any) -> frozenset[str] | None:
    """Return the attribute names that the fast constructor may set; None if the model has to use SQLAlchemy's."""
    mapper: Mapper[Any] | None = inspect(model, raiseerr=False)
    if mapper is None or not is_known():
        return None
    sets_attributes_only = (model.__new__, model.__setattr__) == (object.__new__, object.__setattr__)
    is_plain = has_constructor(mapper, WithLazyState.__init__) and mapper.polymorphic_on is None
    return plain_attributes(model) if sets_attributes_only and is_plain else None


def _known(model: Any, attributes: dict[str, Any], certain: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return those of the attributes that the model has, `certain` ones among them.

    Raises `Reject` where the model does not drop the others.
    """
    known = {name: value for name, value in attributes.items() if name in certain or _has(model, name)}
    if len(known) < len(attributes):
        _dispose(model, [name for name in attributes if name not in known])
    return known


def _dispose(model: Any, unknown: list[str]) -> None:
    if model.__unknown_keys__ == REJECT:
        raise Reject(f"{model.__name__} has no attribute {', '.join(map(repr, unknown))}")
    if log.isEnabledFor(logging.DEBUG):
        log.debug("%s has no attribute %s: dropped", model.__name__, ", ".join(map(repr, unknown)))


def _has(model: type, name: str) -> bool:
    """Tell whether records may set an attribute: a model's own one, no method and nothing that Python or the ORM needs.

    A record may hold any name: `__class__`, `__dict__` and `metadata` are unknown ones as well.
    """
    if not hasattr(model, name) or name.startswith(("__", "_sa_")):
        return False
    found = [vars(kind)[name] for kind in model.__mro__ if name in vars(kind)]
    return bool(found) and not isinstance(found[0], _NO_DATA)


def _is_placeholder(state: object) -> bool:
    return type(state) is int or type(state) is tuple


def _made(instance: Any, placeholder: int | tuple[int, int]) -> Any:
    """Make an object's state, as if each attribute that was given had been set: value, history, modified."""
    session, identity = placeholder if isinstance(placeholder, tuple) else (None, placeholder)
    original = instance if identity == id(instance) else _original_of(placeholder, identity, type(instance))
    if original is not None and original is not instance:
        instance.__dict__[STATE] = shared = instance_state(original)
        return shared
    model: Any = type(instance)  # mypy takes a class for not hashable
    plain = plain_attributes(model)
    state = make_state(instance, (name for name in instance.__dict__ if name in plain))
    if original is instance:
        state.session_id = session
    instance.__dict__[STATE] = state
    return state


def _original_of(placeholder: int | tuple[int, int], identity: int, model: type) -> object | None:
    """Return the living object of a model whose dictionary was copied; a slow search, and a rare one.

    A placeholder that came by another way, such as pickle, is equal to the object's, but not the same.
    """
    for found in gc.get_objects():
        if id(found) == identity and type(found) is model:
            own = found.__dict__.get(STATE)
            return found if own is placeholder or not _is_placeholder(own) else None
    return None
