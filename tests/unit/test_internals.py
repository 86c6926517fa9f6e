"""What is relied upon in SQLAlchemy beyond its documented API: each assumption, with its meaning."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    ColumnDefault,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    create_engine,
    event,
    func,
    inspect,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    class_mapper,
    mapped_column,
    relationship,
    validates,
)
from sqlalchemy.orm.attributes import instance_state

from streamfea.database.session.session import DbSession
from streamfea.orm import internals


class Base(DeclarativeBase):
    pass


class Row(Base):
    __tablename__ = "row"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    watched: Mapped[str]

    @validates("watched")
    def _validate(self, _name: str, value: str) -> str:
        return value


class Dataclass(MappedAsDataclass, DeclarativeBase):
    pass


class Animal(Dataclass):
    __tablename__ = "animal"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    kind: Mapped[str] = mapped_column(init=False)


class Cat(Animal):
    __mapper_args__ = {"polymorphic_identity": "cat"}
    says: Mapped[str | None] = mapped_column(use_existing_column=True, default="miaow")


class Dog(Animal):
    __mapper_args__ = {"polymorphic_identity": "dog"}
    says: Mapped[str | None] = mapped_column(use_existing_column=True, default="woof")


class Upper(TypeDecorator[str]):
    impl = Text
    cache_ok = True

    def bind_expression(self, bindvalue: Any) -> Any:
        """Write in capitals."""
        return func.upper(bindvalue)


@pytest.fixture
def session() -> Iterator[Session]:
    with Session() as session:
        yield session


def test_setting_a_columns_attribute_does_no_more_unless_somebody_listens() -> None:
    manager = class_mapper(Row).class_manager
    assert internals.is_plain_scalar(manager["name"].impl)
    assert not internals.is_plain_scalar(manager["watched"].impl)


def test_the_constructor_that_a_model_has_is_told() -> None:
    class Own(Base):
        __tablename__ = "own"
        id: Mapped[int] = mapped_column(primary_key=True)

        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)

    class Heard(Base):
        __tablename__ = "heard"
        id: Mapped[int] = mapped_column(primary_key=True)

    given: Any = Base.__init__
    assert internals.has_constructor(inspect(Row), given)
    assert not internals.has_constructor(inspect(Own), given)
    event.listen(Heard, "init", lambda *_: None)
    assert not internals.has_constructor(inspect(Heard), given)


def test_mappers_are_configured_when_others_have_come() -> None:
    class OwnBase(DeclarativeBase):  # or it would fail for every other model
        pass

    class Parent(OwnBase):
        __tablename__ = "parent"
        id: Mapped[int] = mapped_column(primary_key=True)
        wrong: Mapped["Missing"] = relationship()  # type: ignore[name-defined]  # noqa: F821 - there is none

    with pytest.raises(Exception, match="Missing"):
        internals.configure(Parent)
    OwnBase.registry.dispose()


def test_a_state_made_by_hand_is_as_that_of_a_constructor(session: Session) -> None:
    usual, by_hand = Row(id=1, name="a"), object.__new__(Row)
    by_hand.__dict__.update(id=1, name="a")
    setattr(by_hand, internals.STATE, internals.make_state(by_hand, ["id", "name"]))
    for row in (usual, by_hand):
        state: Any = inspect(row)
        assert state.transient
        assert state.modified
        assert {name: tuple(state.attrs[name].history) for name in ("id", "name")} == {
            "id": ([1], (), ()),
            "name": (["a"], (), ()),
        }
        session.add(row)
        assert state.session_id == session.hash_key
        assert state.pending
        session.expunge(row)


def test_an_object_without_a_state_gets_one() -> None:
    row = object.__new__(Row)
    internals.set_up_state(row)
    state: Any = inspect(row)
    assert state.transient
    assert not state.modified


def test_what_has_no_documented_way_is_attached() -> None:
    column, index = Column("a", Integer), Index("ix", "a")
    table = Table("t", MetaData(), column)
    internals.attach(ColumnDefault(7), column)
    internals.attach(index, table)
    assert column.default is not None
    assert column.default.arg == 7  # type: ignore[attr-defined]  # it is a ColumnDefault
    assert table.indexes == {index}
    assert list(index.columns) == [column]


def test_a_default_without_parameters_is_told_from_one_that_asks_for_the_context() -> None:
    plain, asking = ColumnDefault(lambda: 1), ColumnDefault(lambda context: context)
    built_in = ColumnDefault(dict)
    assert [internals.takes_no_context(default.arg) for default in (plain, asking, built_in)] == [True, False, True]
    context: Any = None
    assert plain.arg(context) == 1


def test_a_changed_object_is_held_by_its_state() -> None:
    session = Session(create_engine("sqlite://"))
    Base.metadata.create_all(session.connection())
    row = Row(id=1, name="a", watched="b")
    session.add(row)
    session.flush()
    assert not internals.is_strongly_held(instance_state(row))
    row.name = "changed"
    assert internals.is_strongly_held(instance_state(row))
    session.close()


def test_defaults_that_only_the_orm_knows_are_told() -> None:
    assert internals.orm_insert_defaults(inspect(Dog))  # whose column is the cat's, too, with the cat's default
    assert not internals.orm_insert_defaults(inspect(Row))


def test_a_type_that_wraps_its_value_in_sql_is_told() -> None:
    assert internals.wraps_values_in_sql(Upper())
    assert not internals.wraps_values_in_sql(String())
    assert not internals.wraps_values_in_sql(Integer())


def test_an_engines_own_way_to_write_json_is_told() -> None:
    dumps = repr
    assert internals.json_dumps_of(create_engine("postgresql+psycopg://", json_serializer=dumps).dialect) is dumps
    assert internals.json_dumps_of(create_engine("postgresql+psycopg://").dialect) is None


def test_objects_of_a_session_are_told(session: Session) -> None:
    row = Row(id=1, name="a", watched="b")
    assert (internals.holds_objects(session), internals.deleted_in(session)) == (False, False)
    internals.save(session, instance_state(row))
    assert row in session.new
    session.expunge(row)
    state: Any = instance_state(row)
    state.key = inspect(Row).identity_key_from_instance(row)
    session.add(row)
    assert internals.holds_objects(session)
    session.delete(row)
    assert internals.deleted_in(session)


def test_new_objects_are_where_the_session_looks_for_them() -> None:
    row = Row(id=1, name="a", watched="b")
    with DbSession() as session:
        assert "_new" in vars(Session())  # which `DbSession` has a property for
        session.add(row)
        assert session._new == {instance_state(row): row}
        assert list(session.new) == [row]


def test_the_innermost_transaction_is_told(session: Session) -> None:
    assert internals.root_transaction(session) is None
    begun = session.begin()
    assert internals.root_transaction(session) is begun


def test_somebody_who_begins_to_listen_is_counted(session: Session) -> None:
    gc.collect()  # or listeners of what nobody holds any more go meanwhile
    before = internals.count_listeners()

    def listener(*_: object) -> None:
        raise AssertionError

    event.listen(session, "before_flush", listener)
    assert internals.count_listeners() > before
