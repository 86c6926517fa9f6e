"""A new object of a model is the same, however it was made."""

import copy
import pickle
from decimal import Decimal
from typing import Any, Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import ForeignKey, event, inspect
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import (
    InstanceState,
    Mapped,
    MappedAsDataclass,
    make_transient_to_detached,
    mapped_column,
    relationship,
    validates,
)
from sqlalchemy.types import JSON

from streamfea.errors import Reject
from streamfea.model import Base, NullableBoolean
from streamfea.orm.lazy_state import enter_session, leave_session


class Model(Base):
    __abstract__ = True
    metadata = type(Base.metadata)()
    id: Mapped[int] = mapped_column(primary_key=True)


class Plain(Model):
    __tablename__ = "plain"
    name: Mapped[str]
    size: Mapped[int] = mapped_column("how big", default=1)


class Owner(Model):
    __tablename__ = "owner"
    name: Mapped[str]
    things: Mapped[list["Owned"]] = relationship(back_populates="owner")


class Owned(Model):
    __tablename__ = "owned"
    name: Mapped[str]
    owner_id: Mapped[int | None] = mapped_column(ForeignKey(Owner.id))
    owner: Mapped[Owner | None] = relationship(back_populates="things")
    settings: Mapped[dict[str, int]] = mapped_column(MutableDict.as_mutable(JSON))


class Animal(Model):
    __tablename__ = "animal"
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}


class Loud(Model):
    __tablename__ = "loud"
    name: Mapped[str]

    @validates("name")
    def shout(self, _key: str, name: str) -> str:
        return name.upper()


class Constructed(Model):
    __tablename__ = "constructed"
    name: Mapped[str]

    def __init__(self, /, **attributes: Any) -> None:
        super().__init__(**{"name": "by its constructor", **attributes})


class Assigned(Model):
    __tablename__ = "assigned"
    name: Mapped[str]

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value.upper() if isinstance(value, str) else value)


class Allocated(Model):
    __tablename__ = "allocated"
    name: Mapped[str]

    def __new__(cls, /, **_attributes: Any) -> Self:
        made = super().__new__(cls)
        made.note = "allocated"
        return made

    note = ""


class Strict(Model):
    __tablename__ = "strict"
    __unknown_keys__ = "reject"
    name: Mapped[str]

    @property
    def upper(self) -> str:
        return self.name.upper()

    @upper.setter
    def upper(self, upper: str) -> None:
        self.name = upper.lower()

    def shouted(self) -> str:
        return self.name.upper()


class Heard(Model):
    __tablename__ = "heard"
    name: Mapped[str]


Plain()  # has SQLAlchemy configure all of them, which is not to count as the time that an example took

STRANGERS = {
    "unknown", "self", "cls", "model", "mro", "metadata", "registry", "__class__", "__dict__", "__init__", "__table__",
    "__tablename__", "__mapper__", "__unknown_keys__", "_sa_instance_state", "_sa_class_manager",
}  # fmt: skip

heard: list[dict[str, Any]] = []


@event.listens_for(Heard, "init")
def _hear(_new: Heard, _arguments: tuple[()], attributes: dict[str, Any]) -> None:
    heard.append(dict(attributes))


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first draw of text ever builds Hypothesis' tables
@given(
    st.dictionaries(
        st.sampled_from(["id", "name", "size", *STRANGERS]), st.none() | st.integers() | st.text(), max_size=4
    )
)
def test_it_is_as_if_each_attribute_had_been_set(attributes: dict[str, Any]) -> None:
    expected = Plain()
    for name in attributes.keys() - STRANGERS:
        setattr(expected, name, attributes[name])

    assert described(Plain(**attributes)) == described(expected)


@pytest.mark.parametrize("stranger", sorted(STRANGERS))
@pytest.mark.parametrize("model", [Plain, Loud, Animal, Heard, Assigned, Allocated, Constructed])
def test_a_name_that_is_no_attribute_of_the_model_is_dropped_however_it_is_made(
    model: type[Model], stranger: str
) -> None:
    note = {"note"} if model is Allocated else set()
    made: Any = model(**{"id": 1, stranger: {"id": 2}})

    assert (type(made), made.id) == (model, 1)
    assert vars(made).keys() <= {"id", "name", "kind", "_sa_instance_state"} | note
    assert inspect(made).transient


def test_a_model_that_rejects_says_which_names_it_does_not_have() -> None:
    assert Strict(name="a").name == "a"
    assert Strict(upper="A").name == "a"
    with pytest.raises(Reject, match=r"Strict has no attribute 'nam', '__class__', 'shouted'"):
        Strict(name="a", nam="b", __class__=dict, shouted="A")


def test_what_becomes_of_unknown_names_is_inherited_and_is_one_of_two_things() -> None:
    class Child(Strict):
        __abstract__ = True

    assert Child.__unknown_keys__ == "reject"
    with pytest.raises(ValueError, match="__unknown_keys__ is 'forbid': write 'drop' or 'reject'"):
        type("Other", (Model,), {"__abstract__": True, "__unknown_keys__": "forbid"})


@pytest.mark.parametrize(("value", "label"), [(True, "true"), (1, "true"), (False, "false"), (0, "false")])
def test_a_nullable_boolean_is_true_false_or_unknown(value: Any, label: str) -> None:
    assert bound(value) == label
    assert bound(None) == "unknown"


@pytest.mark.parametrize("value", ["false", "", 7, -1, 1.0, 0.0, [], {}, b"", Decimal(1)])
def test_a_nullable_boolean_is_nothing_else(value: Any) -> None:
    with pytest.raises(ValueError, match="no NullableBoolean: it must be True, False, None, 0 or 1"):
        bound(value)


def test_it_can_be_changed_copied_and_pickled() -> None:
    plain = Plain(name="a", size=2)
    plain.name = "b"
    del plain.size

    assert described(pickle.loads(pickle.dumps(plain))) == described(plain)
    assert copy.copy(plain).name == "b"
    assert inspect(plain).attrs.name.history.added == ["b"]
    assert "size" not in inspect(plain).dict


def test_its_dictionary_has_the_keys_that_any_other_has() -> None:
    values = vars(Plain(name="a")).copy()
    values.pop("_sa_instance_state")

    assert values == {"name": "a"}


def test_what_was_added_to_a_session_is_in_none_once_it_is_copied_or_pickled() -> None:
    plain = Plain(name="a")
    assert enter_session(plain, 7)

    assert inspect(pickle.loads(pickle.dumps(plain))).session_id is None
    assert inspect(plain).session_id == 7


class Carried(Model):
    __tablename__ = "carried"
    name: Mapped[str]

    def __getstate__(self) -> object:
        return self.__dict__.copy()

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


def test_a_copy_of_its_dictionary_says_nothing_of_its_session() -> None:
    carried = Carried(name="a")
    assert enter_session(carried, 7)

    assert inspect(pickle.loads(pickle.dumps(carried))).session_id is None


def test_a_copy_of_its_dictionary_has_its_state_as_with_sqlalchemys_own() -> None:
    original = Plain(name="a")
    copied, updated = copy.copy(original), Plain.__new__(Plain)
    vars(updated).update(vars(original))
    unseen = Plain(name="b")
    taken = Plain.__new__(Plain)
    vars(taken).update(vars(unseen))

    assert inspect(copied) is inspect(updated) is inspect(original)
    assert inspect(taken) is inspect(unseen)
    assert not enter_session(copied, 7)
    assert not enter_session(taken, 7)
    assert enter_session(original, 7)


def test_its_dictionary_is_that_of_no_other_object() -> None:
    assert Carried(name="a") != Carried(name="a")


def test_it_leaves_a_session_though_its_state_was_taken_from_its_dictionary() -> None:
    plain = Plain(name="a")
    assert enter_session(plain, 7)
    vars(plain).pop("_sa_instance_state")
    leave_session(plain)

    assert inspect(plain).session_id is None


@pytest.mark.parametrize("looked_at", [False, True])
def test_it_can_be_in_one_session_only_and_leave_it(looked_at: bool) -> None:
    plain = Plain(name="a")
    if looked_at:
        inspect(plain)

    assert enter_session(plain, 7)
    assert not enter_session(plain, 8)
    leave_session(plain)
    assert enter_session(plain, 8)
    assert inspect(plain).session_id == 8


def test_what_is_not_new_is_not_entered() -> None:
    plain = Plain(id=1, name="a")
    make_transient_to_detached(plain)

    assert not enter_session(plain, 7)


@pytest.mark.parametrize("model", [Plain, Animal])
def test_a_class_has_no_state_and_neither_has_an_object_that_lost_it(model: type[Model]) -> None:
    made = model()
    del made._sa_instance_state

    assert not hasattr(model, "_sa_instance_state")
    assert not hasattr(made, "_sa_instance_state")


def test_it_is_let_go_of_as_any_other() -> None:
    state: InstanceState[Any] = inspect(Plain(name="a"))

    assert state.obj() is None


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda: Animal().kind, "animal"),
        (lambda: Loud(name="a").name, "A"),
        (lambda: Constructed(id=1).name, "by its constructor"),
        (lambda: Assigned(name="a").name, "A"),
        (lambda: Allocated(name="a").note, "allocated"),
        (lambda: type(Owned(settings={"a": 1}).settings), MutableDict),
        (lambda: len(owner_of(Owned(owner=Owner(name="a"))).things), 1),
    ],
)
def test_what_a_model_does_with_new_objects_is_done(made: Any, expected: object) -> None:
    assert made() == expected
    assert made() == expected  # not the first any more, after which it is known how they are made


def test_listeners_hear_of_new_objects() -> None:
    heard.clear()
    Heard(name="a")
    Heard(name="b")

    assert heard == [{"name": "a"}, {"name": "b"}]


def test_a_constructor_that_is_wrapped_later_is_called() -> None:
    class Wrapped(Model):
        __tablename__ = "wrapped"
        name: Mapped[str]

    wrapped: Any = Wrapped
    made = wrapped.__init__

    def named(self: Wrapped, **attributes: Any) -> None:
        made(self, **{"name": "by the wrapper", **attributes})

    wrapped.__init__ = named
    assert [Wrapped().name, Wrapped().name] == ["by the wrapper"] * 2


def test_a_model_may_be_a_dataclass() -> None:
    class Point(MappedAsDataclass, Base):
        __tablename__ = "point"
        metadata = Model.metadata
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        x: Mapped[int]
        y: Mapped[int] = mapped_column(default=2)

    point: Any = Point
    assert (point(1).x, point(1).y) == (1, 2)


def test_what_later_models_add_is_there() -> None:
    class Early(Model):
        __tablename__ = "early"
        name: Mapped[str]

    Early(name="a")

    class Late(Model):
        __tablename__ = "late"
        early_id: Mapped[int] = mapped_column(ForeignKey(Early.id))
        early: Mapped[Early] = relationship(backref="late")

    made: Any = Early(name="b")
    assert made.late == []


def test_positional_arguments_are_refused() -> None:
    with pytest.raises(TypeError):
        Plain("a")  # type: ignore[call-arg]


def test_what_is_not_mapped_is_an_ordinary_class() -> None:
    assert isinstance(Model(), Model)


def owner_of(owned: Owned) -> Owner:
    assert owned.owner is not None
    return owned.owner


def described(instance: Plain) -> dict[str, Any]:
    state: InstanceState[Any] = inspect(instance)
    return {
        "values": {name: value for name, value in state.dict.items() if name != "_sa_instance_state"},
        "modified": state.modified,
        "transient": state.transient,
        "committed": state.committed_state,
        "histories": {one.key: tuple(one.history) for one in state.attrs},
    }


def bound(value: Any) -> str:
    return NullableBoolean().process_bind_param(value, postgresql.dialect())  # type: ignore[no-untyped-call]
