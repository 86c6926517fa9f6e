"""Values that a handler does not give as they are written: defaults of every kind, and types that wrap them in SQL."""

import itertools
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, DateTime, ForeignKey, String, Text, TypeDecorator, func, text
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, Session, mapped_column, relationship

from tests.differential.ways import Kind

__all__ = ["KINDS"]

_numbers = itertools.count(1)


class Base(DeclarativeBase):
    pass


class DataBase(MappedAsDataclass, DeclarativeBase):
    metadata = Base.metadata


class Trimmed(TypeDecorator[str]):
    """Binds in Python and in SQL; in an array only in Python, which has no bind expressions of its elements."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:
        return None if value is None else f" {value} "

    def bind_expression(self, bindvalue: Any) -> Any:
        return func.btrim(bindvalue, type_=self)


class Outer(TypeDecorator[str]):
    """Wraps a type that wraps its value in SQL."""

    impl = Trimmed
    cache_ok = True


class Typed(Base):
    __tablename__ = "typed"
    id: Mapped[int] = mapped_column(primary_key=True)
    plain: Mapped[str]
    direct: Mapped[str] = mapped_column(Trimmed)
    nested: Mapped[str] = mapped_column(Outer)
    variant: Mapped[str] = mapped_column(String().with_variant(Trimmed(), "postgresql"))
    several: Mapped[list[str]] = mapped_column(ARRAY(Trimmed))
    maybe: Mapped[str | None] = mapped_column(Trimmed)


class Defaults(Base):
    __tablename__ = "defaults"
    id: Mapped[int] = mapped_column(primary_key=True)
    given: Mapped[str]
    constant: Mapped[str] = mapped_column(insert_default="constant")
    called: Mapped[int] = mapped_column(insert_default=lambda: next(_numbers))
    of_others: Mapped[str] = mapped_column(insert_default=lambda context: context.get_current_parameters()["given"] * 2)
    by_sql: Mapped[str] = mapped_column(insert_default=func.lower("BY SQL"))
    by_server: Mapped[str] = mapped_column(server_default=text("'by server'"))
    by_both: Mapped[str] = mapped_column(insert_default="by us", server_default=text("'by server'"))
    nothing: Mapped[str | None] = mapped_column(insert_default="something")


class Shelf(DataBase):
    __tablename__ = "shelf"
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str]
    kind: Mapped[str | None] = mapped_column(default=None)
    size: Mapped[int] = mapped_column(BigInteger, default=7, kw_only=True)
    tags: Mapped[list[str]] = mapped_column(ARRAY(String), default_factory=lambda: ["new"], kw_only=True)
    at: Mapped[datetime | None] = mapped_column(
        DateTime(timezone=True), insert_default=lambda: datetime(2026, 1, 31, tzinfo=UTC), init=False
    )
    note: Mapped[str | None] = mapped_column(default="noted", init=False)
    books: Mapped[list["Book"]] = relationship(default_factory=list, kw_only=True)


class Book(DataBase):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    title: Mapped[str]
    shelf_id: Mapped[int | None] = mapped_column(ForeignKey("shelf.id"), default=None)


class Animal(DataBase):
    __tablename__ = "animal"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    kind: Mapped[str] = mapped_column(init=False)


class Cat(Animal):
    __mapper_args__ = {"polymorphic_identity": "cat"}
    says: Mapped[str | None] = mapped_column(use_existing_column=True, default="miaow")


class Dog(Animal):
    """Shares a column with the cat, and has another default for it, which only the ORM knows."""

    __mapper_args__ = {"polymorphic_identity": "dog"}
    says: Mapped[str | None] = mapped_column(use_existing_column=True, default="woof")


class Tool(DataBase):
    __tablename__ = "tool"
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    material: Mapped[str | None] = mapped_column(default="steel")


class SharpTool(Tool):
    """A class of the same table, without a discriminator, that brings its own default for the same column."""

    material: Mapped[str | None] = mapped_column(use_existing_column=True, default="obsidian")


def _typed(session: Session, number: int) -> None:
    session.add(
        Typed(plain=f" {number} ", direct=f"{number}", nested="o", variant="v", several=["a", "b"],
              maybe="m" if number % 2 else None)
    )  # fmt: skip


def _defaults(session: Session, number: int) -> None:
    given: list[dict[str, Any]] = [
        {},
        {"constant": "own"},
        {"called": 100, "by_sql": "own"},
        {"by_server": "own", "nothing": None},
    ]
    session.add(Defaults(given=str(number), **given[number - 1]))


def _restart() -> None:
    global _numbers  # noqa: PLW0603 - a handler's own counter
    _numbers = itertools.count(1)


def _shelves(session: Session, number: int) -> None:
    match number:
        case 1:
            session.add(Shelf("one"))
        case 2:
            session.add(Shelf("two", "wooden", size=8, tags=[]))
        case 3:
            session.add(Shelf("three", books=[Book("a"), Book("b")]))
        case _:
            shelf = Shelf("four")
            shelf.note = None
            session.add(shelf)
            session.add(Book("c"))


def _animals(session: Session, number: int) -> None:
    session.add(Dog() if number % 2 else Cat())
    session.add(Dog(says=None) if number % 2 else Cat(says="purr"))


def _tools(session: Session, number: int) -> None:
    session.add(SharpTool() if number % 2 else Tool())
    session.add(SharpTool(None) if number % 2 else Tool("wood"))


KINDS = [
    Kind("types that wrap their values in SQL, at any depth", _typed,
         "SELECT plain, direct, nested, variant, several, maybe FROM typed ORDER BY id",
         [(f" {n} ", f"{n}", "o", "v", [" a ", " b "], "m" if n % 2 else None) for n in range(1, 5)], Base.metadata),
    Kind("defaults of every kind", _defaults,
         "SELECT constant, called, of_others, by_sql, by_server, by_both, nothing FROM defaults ORDER BY id",
         [("constant", 1, "11", "by sql", "by server", "by us", "something"),
          ("own", 2, "22", "by sql", "by server", "by us", "something"),
          ("constant", 100, "33", "own", "by server", "by us", "something"),
          ("constant", 3, "44", "by sql", "own", "by us", "something")], Base.metadata, forget=_restart),
    Kind("dataclasses with defaults of both kinds", _shelves,
         "SELECT name, kind, size, tags, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD'), note, "
         "(SELECT count(*) FROM book WHERE shelf_id = shelf.id) FROM shelf ORDER BY id",
         [("one", None, 7, ["new"], "2026-01-31", "noted", 0),
          ("two", "wooden", 8, [], "2026-01-31", "noted", 0),
          ("three", None, 7, ["new"], "2026-01-31", "noted", 2),
          ("four", None, 7, ["new"], "2026-01-31", "noted", 0)], Base.metadata),
    Kind("a column that two classes share, each with its own default", _animals,
         "SELECT kind, says FROM animal ORDER BY id",
         [("dog", "woof"), ("dog", "woof"), ("cat", "miaow"), ("cat", "purr")] * 2, Base.metadata),
    Kind("a class of the same table with its own default", _tools,
         "SELECT material FROM tool ORDER BY id",
         [("obsidian",), ("obsidian",), ("steel",), ("wood",)] * 2, Base.metadata),
]  # fmt: skip
