"""Tables and types for which COPY does something else than INSERT."""

import itertools
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Column, ForeignKey, Integer, String, Table, func
from sqlalchemy.dialects.postgresql import INET, INT4RANGE, JSONB, Range
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.types import JSON, Interval, Text, TypeDecorator

from tests.differential.ways import Kind

__all__ = ["KINDS"]

COUNT = itertools.count(1)


class Base(DeclarativeBase):
    pass


def _restart() -> None:
    global COUNT  # noqa: PLW0603 - a handler's module that counts
    COUNT = itertools.count(1)


class Document(Base):
    __tablename__ = "document"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    body: Mapped[dict[str, int]] = mapped_column(JSONB)


class Always(Base):
    __tablename__ = "always"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Listed(TypeDecorator[list[int]]):
    """Of a kind that takes the ordinary way."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: list[int] | None, _dialect: Any) -> Any:
        return None if value is None else Spelled(value)


class Spelled(str):
    """No plain text."""

    __slots__ = ()


class Counted(Base):
    """Its numbers have gaps when a default is asked for in vain."""

    __tablename__ = "counted"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(default=lambda: next(COUNT))
    odd: Mapped[list[int] | None] = mapped_column(Listed)


_partly = Table(
    "partly",
    Base.metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String),
    Column("by", String, nullable=False, default="streamfea"),
)


class Partly(Base):
    __table__ = _partly
    __mapper_args__ = {"exclude_properties": ["by"]}


@dataclass(frozen=True)
class Point:
    x: int


class PointType(TypeDecorator[Point]):
    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Point | None, _dialect: Any) -> Any:
        return None if value is None else {"x": value.x}

    def bind_processor(self, dialect: Any) -> Any:
        process: Any = super().bind_processor(dialect)

        def bind(value: Any) -> Any:
            assert value is None or value.x  # its own kind of value
            return process(value)

        return bind


class Placed(Base):
    __tablename__ = "placed"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[Point] = mapped_column(PointType)


class Shouted(TypeDecorator[str]):
    impl = Text
    cache_ok = True

    def bind_expression(self, bindvalue: Any) -> Any:
        return func.upper(bindvalue)


class Wrapped(Base):
    __tablename__ = "wrapped"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Shouted)


class Country(Base):
    __tablename__ = "country"
    code: Mapped[str] = mapped_column(primary_key=True)


class Town(Base):
    """Its name comes after its country's, and so a flush writes it after that."""

    __tablename__ = "town"
    id: Mapped[int] = mapped_column(primary_key=True)
    country: Mapped[str] = mapped_column(ForeignKey(Country.code))


class City(Base):
    """Its name comes before its country's, and there is no relationship: a flush writes it first, in vain."""

    __tablename__ = "city"
    id: Mapped[int] = mapped_column(primary_key=True)
    country: Mapped[str] = mapped_column(ForeignKey(Country.code))


class Node(Base):
    __tablename__ = "node"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    parent: Mapped[int | None] = mapped_column(ForeignKey("node.id"))


class Late(Base):
    __tablename__ = "late"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    country: Mapped[str] = mapped_column(ForeignKey(Country.code, deferrable=True, initially="DEFERRED"))


class Odd(Base):
    __tablename__ = "odd"
    id: Mapped[int] = mapped_column(primary_key=True)
    took: Mapped[timedelta | None] = mapped_column(Interval)
    span: Mapped[Any] = mapped_column(INT4RANGE)
    address: Mapped[str | None] = mapped_column(INET)


def _leave_body_out(session: Session, number: int) -> None:
    session.add(Document(name=str(number)))


def _bring_an_id(session: Session, number: int) -> None:
    session.add(Always(id=7, name="7") if number == 2 else Always(name=str(number)))


def _count(session: Session, number: int) -> None:
    session.add_all([Counted(), Counted(odd=[7] if number == 2 else None)])


def _town_before_country(session: Session, number: int) -> None:
    codes = ["de", "fr", "fr", "it"]
    if number == 1:
        session.add(Country(code="de"))
    elif number == 3:
        session.add(Country(code="fr"))
    session.add(Town(country=codes[number - 1]))


def _city_with_its_country(session: Session, number: int) -> None:
    if number < 4:
        session.add(Country(code=str(number)))
    if number > 1:
        session.add(City(country={2: "2", 3: "1", 4: "3"}[number]))


def _late_before_country(session: Session, number: int) -> None:
    if number == 2:
        session.add(Country(code="fr"))
    session.add(Late(id=number, country="fr"))


def _node_before_parent(session: Session, number: int) -> None:
    session.add(Node(id=number, parent={1: 2, 2: None, 3: 2, 4: 4}[number]))


_document = [
    "ALTER TABLE document ALTER body SET DEFAULT '{\"a\": 1}'",
]
_always = [
    "ALTER TABLE always ALTER id DROP DEFAULT",
    "ALTER TABLE always ALTER id ADD GENERATED ALWAYS AS IDENTITY",
]

KINDS = [
    Kind("a default that only the database has", _leave_body_out,
         "SELECT count(*), min(body ->> 'a') FROM document", [(60, "1")], Base.metadata, records=60, ddl=_document),
    Kind("a default of a column that is not mapped", lambda session, number: session.add(Partly(name=str(number))),
         'SELECT count(*), min("by") FROM partly', [(60, "streamfea")], Base.metadata, records=60),
    Kind("an id for an identity that is generated always", _bring_an_id, "SELECT name FROM always ORDER BY id",
         [("1",), ("3",), ("4",)], Base.metadata, failed=frozenset({2}), ddl=_always),
    Kind("a type that wants its own kind of value", lambda session, number: session.add(Placed(at=Point(number))),
         "SELECT at ->> 'x' FROM placed ORDER BY id", [(str(number),) for number in range(1, 5)], Base.metadata),
    Kind("a type that wraps its value in SQL", lambda session, number: session.add(Wrapped(name=f"a{number}")),
         "SELECT name FROM wrapped ORDER BY id", [(f"A{number}",) for number in range(1, 5)], Base.metadata),
    Kind("a row before the one that it refers to", _town_before_country, "SELECT country FROM town ORDER BY id",
         [("de",), ("fr",)], Base.metadata, failed=frozenset({2, 4})),
    Kind("a row that a flush writes before the one that it refers to", _city_with_its_country,
         "SELECT country FROM city ORDER BY id", [("1",), ("3",)], Base.metadata, failed=frozenset({2})),
    Kind("defaults that count", _count, "SELECT number FROM counted ORDER BY id",
         [(1,), (2,), (3,), (4,), (5,), (6,), (7,), (8,)], Base.metadata, forget=_restart),
    Kind("a row before the one that it refers to when all is done", _late_before_country,
         "SELECT id FROM late ORDER BY id", [(2,), (3,), (4,)], Base.metadata, failed=frozenset({1})),
    Kind("a row before the one of its table that it refers to", _node_before_parent, "SELECT id FROM node ORDER BY id",
         [(2,), (3,), (4,)], Base.metadata, failed=frozenset({1})),
    Kind("types that only PostgreSQL has",
         lambda session, number: session.add(
             Odd(took=timedelta(seconds=number), span=Range(1, number + 1), address=f"10.0.0.{number}")
         ),
         "SELECT extract(epoch FROM took)::int, upper(span), host(address) FROM odd ORDER BY id",
         [(number, number + 1, f"10.0.0.{number}") for number in range(1, 5)], Base.metadata),
]  # fmt: skip
