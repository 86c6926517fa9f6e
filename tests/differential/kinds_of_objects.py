"""Objects as people map them, and what they do with them within one record."""

import enum
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Enum, ForeignKey, Numeric, delete, func, insert, inspect, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    column_property,
    mapped_column,
    relationship,
    validates,
)

from tests.differential.ways import Kind

__all__ = ["KINDS"]


class Base(DeclarativeBase):
    pass


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    lines: Mapped[list["Line"]] = relationship(back_populates="order", cascade="all, delete-orphan")


class Line(Base):
    __tablename__ = "line"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey(Order.id))
    name: Mapped[str]
    order: Mapped[Order] = relationship(back_populates="lines")


class Animal(Base):
    __tablename__ = "animal"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}


class Dog(Animal):
    __tablename__ = "dog"
    id: Mapped[int] = mapped_column(ForeignKey(Animal.id), primary_key=True)
    name: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "dog"}


class Versioned(Base):
    __tablename__ = "versioned"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}


class Valued(Base):
    __tablename__ = "valued"
    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[UUID]
    colour: Mapped[Colour] = mapped_column(Enum(Colour, native_enum=False))
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    at: Mapped[datetime] = mapped_column(server_default=text("'2026-01-31'"))
    shouted: Mapped[str] = mapped_column()
    doubled: Mapped[Any] = column_property(func.length(shouted) * 2)

    @validates("shouted")
    def _shout(self, _key: str, value: str) -> str:
        return value.upper()


class Natural(Base):
    __tablename__ = "natural"
    code: Mapped[str] = mapped_column(primary_key=True)
    hits: Mapped[int] = mapped_column(default=0)


class DataBase(MappedAsDataclass, DeclarativeBase):
    metadata = Base.metadata


class Data(DataBase):
    __tablename__ = "data"
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str]
    tag: Mapped[str] = mapped_column(default="tagged")
    made: Mapped[str | None] = mapped_column(insert_default="by default", init=False)


def _order_with_lines(session: Session, number: int) -> None:
    session.add(Order(name=str(number), lines=[Line(name=f"{number}.{line}") for line in range(3)]))
    if number == 3:
        raise ValueError("too late")


def _line_to_the_order_before(session: Session, number: int) -> None:
    before = session.scalars(select(Order).order_by(Order.id.desc()).limit(1)).one_or_none()
    session.add(Order(name=str(number)))
    if before is not None:
        before.lines.append(Line(name=f"of {before.name}"))


def _remove_lines(session: Session, number: int) -> None:
    session.add(Order(name=str(number), lines=[Line(name=str(number))]))
    session.flush()
    for order in session.scalars(select(Order).where(Order.name != str(number))):
        order.lines.clear()


def _dog(session: Session, number: int) -> None:
    session.add(Dog(name=str(number)) if number % 2 else Animal())


def _version(session: Session, number: int) -> None:
    found = session.get(Versioned, number % 2)
    if found is None:
        session.add(Versioned(id=number % 2, name=str(number)))
    else:
        found.name += str(number)


def _values(session: Session, number: int) -> None:
    session.add(
        Valued(
            key=uuid5(UUID(int=0), str(number)),
            colour=Colour.RED if number % 2 else Colour.BLUE,
            price=Decimal(number) / 4 if number != 3 else Decimal(10**9),
            shouted=f"a{number}",
        )
    )


def _data(session: Session, number: int) -> None:
    session.add(Data(name=str(number)) if number % 2 else Data(name=str(number), tag="own"))


def _count_hits(session: Session, number: int) -> None:
    """Insert or update, by asking first."""
    natural = session.get(Natural, "a")
    if natural is None:
        session.add(Natural(code="a", hits=number))
    else:
        natural.hits += number


def _same_key(session: Session, number: int) -> None:
    session.add(Natural(code=str((number + 1) // 2), hits=number))


def _same_key_twice(session: Session, number: int) -> None:
    session.add(Natural(code=str(number), hits=1))
    if number == 2:
        session.add(Natural(code=str(number), hits=2))


def _add_then_delete(session: Session, number: int) -> None:
    natural = Natural(code=str(number))
    session.add(natural)
    if number == 1:
        session.expunge(natural)
    elif number == 2:
        session.flush()
        session.delete(natural)
    elif number == 3:
        session.flush()
        natural.hits = 7
    else:
        session.add(natural)


def _bulk(session: Session, number: int) -> None:
    session.bulk_save_objects([Natural(code=f"{number} saved")])
    session.execute(insert(Natural), [{"code": f"{number} a"}, {"code": f"{number} b", "hits": 2}])
    session.execute(update(Natural).where(Natural.code == f"{number} a").values(hits=Natural.hits + 5))
    session.execute(delete(Natural).where(Natural.code == f"{number - 1} a"))


def _refresh(session: Session, number: int) -> None:
    order = Order(name=str(number))
    session.add(order)
    session.flush()
    session.refresh(order)
    session.add(Order(name=f"{order.name} {len(session.identity_map)} {inspect(order).persistent}"))


def _without_autoflush(session: Session, number: int) -> None:
    session.add(Natural(code=str(number), hits=number))
    with session.no_autoflush:
        session.add(Natural(code=f"{number} saw", hits=session.scalar(select(func.count()).select_from(Natural))))
    session.add(Natural(code=f"{number} saw then", hits=session.scalar(select(func.count()).select_from(Natural))))


def _fail_in_sql(session: Session, number: int) -> None:
    session.add(Natural(code=str(number)))
    if number == 2:
        session.execute(text("SELECT 1 / 0"))
    if number == 3:
        with suppress(SQLAlchemyError):
            session.execute(text("SELECT 1 / 0"))


def _roll_back_by_itself(session: Session, number: int) -> None:
    session.add(Natural(code=str(number)))
    if number % 2:
        session.flush()
        session.rollback()
        session.add(Natural(code=f"{number} again"))


def _with_begin(session: Session, number: int) -> None:
    with session.begin():
        session.add(Natural(code=str(number)))
    if number == 2:
        raise ValueError("after its commit")


natural = 'SELECT code, hits FROM "natural" ORDER BY code'
codes = 'SELECT code FROM "natural" ORDER BY code'

KINDS = [
    Kind("a parent with its children", _order_with_lines,
         "SELECT orders.name, line.name FROM orders JOIN line ON order_id = orders.id ORDER BY line.id",
         [(str(n), f"{n}.{line}") for n in (1, 2, 4) for line in range(3)], Base.metadata, failed=frozenset({3})),
    Kind("a child of an earlier record's parent", _line_to_the_order_before,
         "SELECT orders.name, line.name FROM orders JOIN line ON order_id = orders.id ORDER BY line.id",
         [(str(n), f"of {n}") for n in (1, 2, 3)], Base.metadata),
    Kind("removes an earlier record's children", _remove_lines, "SELECT name FROM line ORDER BY id", [("4",)],
         Base.metadata),
    Kind("joined inheritance", _dog, "SELECT kind, name FROM animal LEFT JOIN dog USING (id) ORDER BY id",
         [("dog", "1"), ("animal", None), ("dog", "3"), ("animal", None)], Base.metadata),
    Kind("versions", _version, "SELECT id, name, version FROM versioned ORDER BY id", [(0, "24", 2), (1, "13", 2)],
         Base.metadata),
    Kind("values of many types", _values, "SELECT colour, price, at::date::text, shouted FROM valued ORDER BY id",
         [("RED", Decimal("0.25"), "2026-01-31", "A1"), ("BLUE", Decimal("0.50"), "2026-01-31", "A2"),
          ("BLUE", Decimal("1.00"), "2026-01-31", "A4")], Base.metadata, failed=frozenset({3})),
    Kind("dataclasses with defaults", _data, "SELECT name, tag, made FROM data ORDER BY id",
         [(str(n), "tagged" if n % 2 else "own", "by default") for n in range(1, 5)],
         Base.metadata),
    Kind("counts what it finds", _count_hits, natural, [("a", 10)], Base.metadata),
    Kind("the same key again", _same_key, natural, [("1", 1), ("2", 3)], Base.metadata, failed=frozenset({2, 4})),
    Kind("the same key twice in a record", _same_key_twice, natural, [("1", 1), ("3", 1), ("4", 1)], Base.metadata,
         failed=frozenset({2})),
    Kind("adds, and changes its mind", _add_then_delete, natural, [("3", 7), ("4", 0)], Base.metadata),
    Kind("statements of many rows", _bulk, natural,
         [("1 b", 2), ("1 saved", 0), ("2 b", 2), ("2 saved", 0), ("3 b", 2), ("3 saved", 0), ("4 a", 5), ("4 b", 2),
          ("4 saved", 0)], Base.metadata),
    Kind("refreshes", _refresh, "SELECT name FROM orders ORDER BY id",
         [(name,) for n in range(1, 5) for name in (str(n), f"{n} 1 True")], Base.metadata),
    Kind("queries without autoflush", _without_autoflush, natural,
         [(code, hits) for n in range(1, 5)
          for code, hits in ((str(n), n), (f"{n} saw", 3 * n - 3), (f"{n} saw then", 3 * n - 1))], Base.metadata),
    Kind("fails in SQL, and hides it", _fail_in_sql, codes, [("1",), ("4",)], Base.metadata, failed=frozenset({2, 3})),
    Kind("rolls back", _roll_back_by_itself, codes, [("1 again",), ("2",), ("3 again",), ("4",)], Base.metadata),
    Kind("begins by itself", _with_begin, codes, [("1",), ("2",), ("3",), ("4",)], Base.metadata,
         failed=frozenset({2}), not_exactly_once=frozenset({2})),
]  # fmt: skip
