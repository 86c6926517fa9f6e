"""What is relied upon in SQLAlchemy beyond its documented API: each assumption, with its meaning."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Connection, Integer, String, Text, TypeDecorator, create_engine, event, func, inspect
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, Session, mapped_column, validates
from sqlalchemy.orm.attributes import instance_state

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


def test_the_installed_version_is_known() -> None:
    assert internals.is_known()
    assert internals.advice() is None


@pytest.mark.parametrize(
    ("version", "known"),
    [("2.1.6", False), ("2.1.7", True), ("2.1.99", True), ("2.2.0b1", False), ("2.2.0", False), ("3.0", False)],
)
def test_a_version_that_was_not_tried_is_not_known(version: str, known: bool, look_again: None) -> None:
    internals.look_at_version(version)
    advice = internals.advice()
    assert internals.is_known() is known
    assert (advice is None) is known
    assert advice is None or advice.remedy == "install SQLAlchemy 2.1.7 or later, below 2.2"


@pytest.fixture
def look_again() -> Iterator[None]:
    yield
    internals.look_at_version(sqlalchemy.__version__)


def test_setting_a_columns_attribute_does_no_more_unless_somebody_listens() -> None:
    manager = inspect(Row).class_manager
    assert internals.is_plain_scalar(manager["name"].impl)
    assert not internals.is_plain_scalar(manager["watched"].impl)


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


def test_the_innermost_transaction_is_told(session: Session) -> None:
    assert internals.root_transaction(session) is None
    begun = session.begin()
    assert internals.root_transaction(session) is begun


def test_an_engine_makes_connections_of_another_class() -> None:
    class Own(Connection):
        pass

    engine = create_engine("sqlite://")
    internals.use_connections(engine, Own)
    with engine.connect() as connection:
        assert type(connection) is Own


def test_somebody_who_begins_to_listen_is_counted(session: Session) -> None:
    gc.collect()  # or listeners of what nobody holds any more go meanwhile
    before = internals.count_listeners()

    def listener(*_: object) -> None:
        raise AssertionError

    event.listen(session, "before_flush", listener)
    assert internals.count_listeners() > before
