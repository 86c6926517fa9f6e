"""Which entries an error points at, from what PostgreSQL says of it and what the entries have added."""

from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from psycopg.pq import DiagnosticField
from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, class_mapper, mapped_column

from streamfea.database.copy.culprits import certain_culprits, culprit, suspects
from streamfea.database.copy.plans import Plan, Row


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "thing, 1"  # with a number, as a line has
    __table_args__ = (UniqueConstraint("code", "part", deferrable=True, initially="DEFERRED"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    given: Mapped[str] = mapped_column(default="given")
    by_server: Mapped[str] = mapped_column(server_default="given")
    code: Mapped[int | None]
    part: Mapped[int | None]
    owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"))


class Owner(Base):
    __tablename__ = "owner"

    id: Mapped[int] = mapped_column(primary_key=True)


PLAN = Plan(class_mapper(Thing), Thing.__table__, '"thing, 1"', PGDialect_psycopg(), deferred=["code"])  # type: ignore[arg-type, no-untyped-call]  # it is a table


def violation(kind: type[psycopg.Error], **said: str) -> psycopg.Error:
    """Return an error with these of the fields that PostgreSQL sends."""
    fields = {DiagnosticField[name.upper()]: value.encode() for name, value in said.items()}
    return kind("violated", info=fields)  # type: ignore[arg-type]  # a part of what psycopg itself pickles


def duplicate(key: str, values: str, table: str = "thing, 1") -> psycopg.Error:
    detail = f"Key ({key})=({values}) already exists."
    return violation(psycopg.errors.UniqueViolation, message_detail=detail, table_name=table)


def wrapped(error: psycopg.Error) -> IntegrityError:
    """Return what SQLAlchemy makes of it."""
    return IntegrityError("INSERT", {}, error)


def row(entry_id: str, **values: Any) -> Row:
    found = PLAN.row(entry_id, Thing(name="a", owner_id=1, **values))
    assert isinstance(found, Row)
    return found


def copied(error: psycopg.Error, rows: Sequence[Row]) -> psycopg.Error:
    """Return the error as that of a COPY of these rows."""
    error.copied = rows  # type: ignore[attr-defined]  # as the writer notes them
    return error


_ADDED = [("1-0", Thing(name="a", code=1, part=2)), ("2-0", Thing(name="b", code=3)), ("3-0", Thing(name="c", code=3))]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (duplicate("code", "3"), {"2-0", "3-0"}),
        (wrapped(duplicate("code", "3")), {"2-0", "3-0"}),
        (duplicate("code, part", "1, 2"), {"1-0"}),
        (duplicate("code, part", "2, 1"), set()),
        (duplicate("code", "3", table="other"), set()),
        (duplicate("unknown", "3"), set()),
        (violation(psycopg.errors.UniqueViolation), set()),
        (violation(psycopg.errors.UniqueViolation, message_detail="Schlüssel »(code)=(3)« existiert bereits."), set()),
        (violation(psycopg.errors.DataError, message_detail="Key (code)=(3) already exists."), set()),
        (ValueError("Key (code)=(3) already exists."), set()),
    ],
)  # fmt: skip
def test_whose_values_are_those_of_the_key_is_suspected(error: BaseException, expected: set[str]) -> None:
    assert suspects(error, _ADDED) == expected


def test_whose_required_value_is_missing_is_suspected_unless_it_may_yet_come() -> None:
    added = [
        ("1-0", Thing(name="all but what defaults and relationships give")),
        ("2-0", Thing()),
        ("3-0", Thing(name=None, code=1)),
    ]
    assert suspects(violation(psycopg.errors.NotNullViolation), added) == {"2-0", "3-0"}


def test_what_a_handler_has_taken_apart_is_not_looked_into() -> None:
    apart = Thing(code=3)
    vars(apart).pop("_sa_instance_state")
    assert suspects(duplicate("code", "3"), [("1-0", apart), *_ADDED]) == {"2-0", "3-0"}


def test_the_line_of_a_copy_says_whose_row_it_was() -> None:
    rows = [row("1-0"), row("2-0"), row("3-0")]
    stopped = violation(psycopg.errors.CheckViolation, context='COPY thing, 1, line 2: "5\\ta"')
    assert culprit(copied(stopped, rows), rows) == "2-0"
    assert certain_culprits(copied(stopped, rows), rows) == ["2-0"]


@pytest.mark.parametrize(
    "context", ["", "COPY thing, 1, line 4", "COPY other, line 1", "SQL statement of a trigger, line 1"]
)
def test_a_line_that_is_not_of_this_copy_says_nothing(context: str) -> None:
    rows = [row("1-0"), row("2-0"), row("3-0")]
    stopped = violation(psycopg.errors.CheckViolation, context=context)
    assert culprit(copied(stopped, rows), rows) is None
    assert certain_culprits(copied(stopped, rows), rows) == []


def test_without_a_line_the_first_suspect_is_it() -> None:
    rows = [row("1-0", code=1), row("2-0", code=3), row("3-0", code=3)]
    assert culprit(duplicate("code", "3"), rows) == "2-0"
    assert culprit(duplicate("code", "4"), rows) is None
    assert culprit(ValueError(), rows) is None


def test_a_copy_of_one_row_stops_at_it_and_one_of_several_at_its_last() -> None:
    for number in (1, 3):
        rows = [row(f"{n}-0") for n in range(1, number + 1)]
        stopped = violation(psycopg.errors.CheckViolation, context=f"COPY thing, 1, line {number}")
        assert culprit(copied(stopped, rows), rows) == f"{number}-0"
        assert certain_culprits(copied(stopped, rows), rows) == [f"{number}-0"]


def test_an_entry_with_another_row_is_not_convicted_by_one_line() -> None:
    rows = [row("1-0"), row("2-0"), row("2-0")]
    stopped = violation(psycopg.errors.NotNullViolation, context="COPY thing, 1, line 2")
    assert culprit(copied(stopped, rows), rows) == "2-0"
    assert certain_culprits(copied(stopped, rows), rows) == []


def test_of_those_with_a_deferred_key_all_but_the_first_are_convicted() -> None:
    rows = [row("1-0", code=3), row("2-0", code=1), row("3-0", code=3), row("4-0", code=3)]
    assert certain_culprits(duplicate("code", "3"), rows) == ["3-0", "4-0"]


def test_of_two_with_a_deferred_key_the_second_is_convicted() -> None:
    rows = [row("1-0", code=3, part=1), row("2-0", code=3, part=1), row("3-0", code=3, part=2)]
    assert certain_culprits(wrapped(duplicate("code, part", "3, 1")), rows) == ["2-0"]
    assert culprit(wrapped(duplicate("code, part", "3, 1")), rows) == "1-0"


def test_none_of_several_is_convicted_where_another_deferred_constraint_may_be_violated_too() -> None:
    other = Plan(class_mapper(Thing), PLAN.table, PLAN.name, PGDialect_psycopg(), deferred=["code", "other"])  # type: ignore[no-untyped-call]  # SQLAlchemy's
    rows = [other.row(f"{n}-0", Thing(name="a", owner_id=1, code=3)) for n in (1, 2)]
    held = [found for found in rows if isinstance(found, Row)]
    assert certain_culprits(duplicate("code", "3"), held) == []
    assert certain_culprits(duplicate("code", "3"), held[:1]) == ["1-0"]


def test_the_only_one_with_a_deferred_key_is_convicted_for_it_is_in_the_table_already() -> None:
    assert certain_culprits(duplicate("code", "3"), [row("1-0", code=3), row("2-0", code=1)]) == ["1-0"]


@pytest.mark.parametrize(
    "rows",
    [
        [row("1-0", code=3), row("2-0", code=3), row("2-0", code=1), row("3-0", code=3), row("3-0", code=3)],
        [row("1-0", code=3), row("2-0"), row("3-0", code=3)],  # one whose key is for the server to say
    ],
)
def test_nobody_is_convicted_where_something_else_may_be_wrong(rows: list[Row]) -> None:
    assert certain_culprits(duplicate("code", "3"), rows) == []


def test_nobody_is_convicted_of_a_duplicate_that_a_copy_met() -> None:
    rows = [row("1-0", code=3), row("2-0", code=3)]
    assert certain_culprits(copied(duplicate("code", "3"), rows), rows) == []
    assert certain_culprits(violation(psycopg.errors.UniqueViolation, table_name="thing, 1"), rows) == []
    assert certain_culprits(violation(psycopg.errors.ForeignKeyViolation), rows) == []
