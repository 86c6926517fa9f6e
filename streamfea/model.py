"""What a handler declares its tables with.

    from streamfea.model import Base

    class Reading(Base):
        __tablename__ = "reading"
        id: Mapped[int] = mapped_column(primary_key=True)

Classic `Column` attributes work as well as typed `Mapped[...]` ones.
"""

import logging
from functools import cache
from typing import Any

from sqlalchemy import MetaData, inspect
from sqlalchemy.orm import DeclarativeBase, InstanceState, Mapper, class_mapper
from sqlalchemy.orm import attributes as orm_attributes
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.base import NO_VALUE

__all__ = ["Base"]

log = logging.getLogger(__name__)

# SQLAlchemy 2.1 put the underscore before it.
_ScalarImpl = next(
    getattr(orm_attributes, name)
    for name in ("_ScalarAttributeImpl", "ScalarAttributeImpl")
    if hasattr(orm_attributes, name)
)

# Constraints get names that do not depend on the server, so that a migration can find them again: Alembic's
# documentation, "The Importance of Naming Constraints".
_NAMING_CONVENTION = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The base of every model; its tables are those that `streamfea initdb` creates."""

    metadata = MetaData(naming_convention=_NAMING_CONVENTION)

    def __init__(self, **attributes: Any) -> None:
        """Set the given attributes; names that the model does not have are dropped, with a debug log.

        Records grow fields over time, and a new field is no reason to lose the record.
        """
        model = type(self)
        if len(self.__dict__) == 1 and attributes.keys() <= plain_attributes(model):
            _set_all(self, attributes)
            return
        for name, value in attributes.items():
            if hasattr(model, name):
                setattr(self, name, value)
            else:
                log.debug("%s has no attribute %r: dropped", model.__name__, name)

    def __str__(self) -> str:
        """Return `# module.Class` and a `* name: value` line for each attribute that is set, sorted by name.

        A relationship shows the ids of what it leads to. Only what is loaded already is shown: printing an
        object never sends a query.
        """
        state: InstanceState[Any] = inspect(self)
        relationships = state.mapper.relationships.keys()
        lines = [f"# {type(self).__module__}.{type(self).__qualname__}"]
        for name in sorted(state.mapper.attrs.keys()):
            value = state.dict.get(name)
            if value is not None:
                lines.append(f"* {name}: {_related_ids(value) if name in relationships else value}")
        return "\n".join(lines)


@cache
def plain_attributes(model: type) -> frozenset[str]:
    """Return the names of a mapped class' columns that nothing watches: setting one does no more than that.

    Listeners and validators have to be there before the first object is made, which is when this is looked up.
    """
    mapper: Mapper[Any] = class_mapper(model)
    names = (attribute.key for attribute in mapper.column_attrs)
    return frozenset(name for name in names if _is_plain(mapper.class_manager[name].impl))


def _is_plain(impl: Any) -> bool:
    return type(impl) is _ScalarImpl and not impl.dispatch.set and not impl.dispatch._active_history


def _set_all(instance: object, attributes: dict[str, Any]) -> None:
    """Do at once what setting each of a new object's plain attributes does: value, history, modified."""
    state: Any = instance_state(instance)
    state.committed_state.update(dict.fromkeys(attributes, NO_VALUE))
    state.modified = True
    instance.__dict__.update(attributes)


def _related_ids(value: Any) -> Any:
    """Return the id of the object that a relationship leads to, or the list of ids of several."""
    if hasattr(value, "_sa_instance_state"):
        return _identity(value)
    objects = value.values() if isinstance(value, dict) else value
    return [_identity(related) for related in objects]


def _identity(related: object) -> Any:
    state: InstanceState[Any] = inspect(related, raiseerr=True)
    mapper = state.mapper
    keys = [mapper.get_property_by_column(column).key for column in mapper.primary_key]
    identity = [state.dict.get(key) for key in keys]
    return identity[0] if len(identity) == 1 else tuple(identity)
