"""An object's row is the same, whether the names and types of its attributes tell it or a look at each value."""

import enum
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, make_url
from sqlalchemy.orm import class_mapper
from sqlalchemy.types import JSON, Boolean, Date, DateTime, Enum, Float, Integer, Numeric, Unicode

from streamfea.database.copy.plans import Plan, Row
from streamfea.model import Base


class Kind(enum.Enum):
    GOOD = "good"


class Model(Base):
    __abstract__ = True
    metadata = type(Base.metadata)()


class Plain(Model):
    __tablename__ = "plain"
    id = Column(Integer, primary_key=True)
    name = Column(Unicode, nullable=False)
    size = Column(Integer)
    at = Column(DateTime(timezone=True), nullable=False)
    at_server = Column(DateTime(timezone=True), server_default="now()")


class One(Model):
    __tablename__ = "one"
    id = Column(Integer, primary_key=True)
    name = Column(Unicode)


class Keyed(Model):
    __tablename__ = "keyed"
    key = Column(Unicode, primary_key=True)
    size = Column(Integer, default=7)


class Looked(Model):
    __tablename__ = "looked"
    id = Column(Integer, primary_key=True)
    settings = Column(JSON, server_default="{}")
    kind: Column[Kind] = Column(Enum(Kind))
    local = Column(DateTime())
    day = Column(Date)
    price = Column(Numeric)
    weight = Column(Float)
    is_open = Column(Boolean)


_values = st.sampled_from(
    (None, "a", "\N{SNOWMAN}\\\n", 1, True, 1.5, Decimal("1.5"), Kind.GOOD, "GOOD", {"a": 1}, [1], b"a", object)
) | st.sampled_from(
    (
        date(2026, 1, 31),
        datetime(2026, 1, 31, tzinfo=UTC).replace(tzinfo=None),
        datetime(2026, 1, 31, tzinfo=UTC),
        "2026-01-31",
    )
)


@pytest.mark.parametrize("model", [Plain, One, Keyed, Looked])
@given(st.data())
def test_it_is_the_same(model: type[Model], data: st.DataObject) -> None:
    plan = plan_of(model)
    names = data.draw(st.lists(st.sampled_from([*model.__table__.columns.keys(), "stranger"]), unique=True))
    for _ in range(2):  # the second time the names are known
        given_values = {name: data.draw(_values, name) for name in names}
        assert_the_same(plan, model, given_values)


@pytest.mark.parametrize(
    ("model", "attributes"),
    [
        (Plain, {"name": "a", "size": 1, "at": "2026-01-31"}),
        (Plain, {"at": datetime(2026, 1, 31, tzinfo=UTC), "size": 1, "name": "a"}),
        (One, {"name": "a"}),
        (Keyed, {"key": "a", "size": 1}),
    ],
)
def test_a_row_of_usual_values_takes_no_look_at_each(
    model: type[Model], attributes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(model)
    expected = written(plan._row_by_values("1-0", model(**attributes)))
    monkeypatch.delattr(Plan, "_row_by_values")
    assert written(plan.row("1-0", model(**attributes))) == expected


def test_no_more_ways_to_set_attributes_are_remembered_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamfea.database.copy.plans._SHAPES", 2)
    plan = plan_of(Plain)
    for attributes in ({"name": "a"}, {"size": 1}, {"name": "a", "size": 1}, {"size": 1, "name": "a"}):
        assert_the_same(plan, Plain, attributes)
        assert len(plan._shapes) <= 2


def assert_the_same(plan: Plan, model: type[Model], attributes: dict[str, Any]) -> None:
    made = model(**{name: value for name, value in attributes.items() if name != "stranger"})
    if "stranger" in attributes:
        vars(made)["stranger"] = attributes["stranger"]
    assert row_or_error(plan.row, made) == row_or_error(plan._row_by_values, made)


def row_or_error(row: Any, made: object) -> object:
    try:
        return written(row("1-0", made))
    except Exception as error:
        return type(error)


def written(row: Row | None) -> object:
    return None if row is None else (row.layout, [(type(value), repr(value)) for value in row.values], row.lacks)


def plan_of(model: type[Model]) -> Plan:
    mapper = class_mapper(model)
    table: Any = mapper.local_table
    return Plan(mapper, table, table.name, make_url("postgresql+psycopg://").get_dialect()())
