"""What is known of the rows that are not written yet, whatever becomes of their list."""

from typing import Any

from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.orm import DeclarativeBase, Mapped, class_mapper, mapped_column

from streamfea.database.copy.plans import Plan, Row
from streamfea.database.waiting.contents import Contents


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "thing"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


TABLE: Any = Thing.__table__
PLAN = Plan(class_mapper(Thing), TABLE, "thing", PGDialect_psycopg())  # type: ignore[no-untyped-call]  # SQLAlchemy's


def row(name: str) -> Row:
    made = PLAN.row("1-0", Thing(name=name))
    assert made is not None
    return made


def test_rows_lack_what_none_of_them_has() -> None:
    contents, rows = Contents(), [row("a")]
    assert not contents.lack(rows, TABLE, {"name": "a"})
    assert contents.lack(rows, TABLE, {"name": "b"})
    rows.append(row("b"))
    assert not contents.lack(rows, TABLE, {"name": "b"})


def test_a_key_that_the_server_gives_may_be_any() -> None:
    assert not Contents().lack([row("a")], TABLE, {"id": 5})


def test_rows_that_took_the_place_of_others_are_looked_at() -> None:
    contents, rows = Contents(), [row("a"), row("b")]
    assert not contents.lack(rows, TABLE, {"name": "a"})
    rows.clear()
    rows.extend([row("c"), row("d"), row("e")])
    assert contents.lack(rows, TABLE, {"name": "a"})
    assert not contents.lack(rows, TABLE, {"name": "c"})


def test_rows_behind_one_that_has_gone_are_looked_at() -> None:
    contents, rows = Contents(), [row("a"), row("b")]
    assert not contents.lack(rows, TABLE, {"name": "b"})
    rows = [rows[1], row("c")]
    assert contents.lack(rows, TABLE, {"name": "a"})
    assert not contents.lack(rows, TABLE, {"name": "c"})


def test_tables_are_those_of_the_rows_that_are_left() -> None:
    contents, rows = Contents(), [row("a")]
    assert contents.tables(rows) == {TABLE}
    assert contents.tables([]) == set()
