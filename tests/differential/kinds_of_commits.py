"""Handlers that commit, or roll back, by themselves."""

from typing import Any

from sqlalchemy import ForeignKey, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError, PendingRollbackError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.differential.ways import Kind

__all__ = ["KINDS"]


class Base(DeclarativeBase):
    pass


class Metric(Base):
    __tablename__ = "metric"
    code: Mapped[str] = mapped_column(primary_key=True)
    hits: Mapped[int] = mapped_column(default=0)


class Note(Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str | None] = mapped_column(unique=True)
    code: Mapped[str | None] = mapped_column(ForeignKey(Metric.code, deferrable=True, initially="DEFERRED"))


class Line(Base):
    __tablename__ = "line"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(unique=True)


_new: Any = insert(Metric)
UPSERT = _new.on_conflict_do_update(index_elements=["code"], set_={"hits": Metric.hits + _new.excluded.hits})
ADD: Any = insert(Metric.__table__)  # type: ignore[arg-type]  # it is a table


def _upsert(session: Session, number: int) -> None:
    session.execute(UPSERT, {"code": f"m{number % 2}", "hits": number})
    session.commit()


def _insert_caught(session: Session, number: int) -> None:
    try:
        session.execute(ADD, {"code": f"m{number // 2}", "hits": number})
        session.commit()
    except IntegrityError:
        session.rollback()


def _add_caught(session: Session, number: int) -> None:
    session.add(Line(text=str(number // 2)))
    try:
        session.commit()
    except IntegrityError:
        session.rollback()


def _add_held_caught(session: Session, number: int) -> None:
    line = Line(text=str(number // 2))
    session.add(line)
    try:
        session.commit()
    except IntegrityError:
        session.rollback()


def _add_after_refusal(session: Session, number: int) -> None:
    session.add(Line(text=str(number // 2)))
    try:
        session.commit()
    except IntegrityError:
        session.rollback()
        session.add(Line(text=f"{number} again"))


def _add_without_rollback(session: Session, number: int) -> None:
    session.add(Line(text=str(number // 2)))
    try:
        session.commit()
    except IntegrityError:
        session.add(Line(text=f"{number} again"))


def _query_without_rollback(session: Session, number: int) -> None:
    session.add(Line(text=str(number // 2)))
    try:
        session.commit()
    except IntegrityError:
        try:
            session.scalar(select(Line.id))
        except PendingRollbackError:
            session.rollback()
            session.add(Line(text=f"{number} refused"))


def _commit_some(session: Session, number: int) -> None:
    session.add(Line(text=str(number // 2)))
    if number % 3 == 0:
        session.commit()


def _commit_and_raise(session: Session, number: int) -> None:
    session.add(Line(text=str(number)))
    session.commit()
    session.add(Line(text=f"{number} lost"))
    if number % 2:
        raise ValueError("no")


def _commit_twice(session: Session, number: int) -> None:
    session.execute(UPSERT, {"code": "all", "hits": number})
    session.commit()
    session.execute(UPSERT, {"code": f"m{number % 2}", "hits": number})
    session.commit()


def _look_after_commit(session: Session, number: int) -> None:
    line = Line(text=str(number))
    session.add(line)
    session.commit()
    session.add(Line(text=f"{number} {line.id > 0} {line in session} {session.scalar(select(Line.id)) is not None}"))
    session.commit()


def _roll_back_first(session: Session, number: int) -> None:
    session.add(Line(text=f"{number} lost"))
    session.execute(ADD, {"code": f"{number} lost"})
    if number % 2:
        session.rollback()
    session.add(Line(text=str(number)))


def _roll_back_and_readd(session: Session, number: int) -> None:
    line = Line(text=str(number))
    session.add(line)
    session.rollback()
    session.add(Line(text=f"{number} {line in session}"))
    session.add(line)


def _break_deferred(session: Session, number: int) -> None:
    session.add(Note(text=str(number), code="missing" if number == 3 else None))
    try:
        session.commit()
    except IntegrityError:
        session.rollback()


def _look_up_and_commit(session: Session, number: int) -> None:
    code = f"m{number % 2}"
    found = session.scalars(select(Metric).where(Metric.code == code)).one_or_none()
    if found is None:
        session.add(Metric(code=code, hits=number))
    else:
        found.hits += number
    session.commit()


def _keep_result(session: Session, number: int) -> None:
    added: Any = session.execute(ADD, {"code": f"m{number // 2}"})
    try:
        session.commit()
    except IntegrityError:
        session.rollback()
    session.add(Line(text=f"{number} {added.rowcount}"))


_METRICS = "SELECT code, hits FROM metric ORDER BY code"
_LINES = "SELECT text FROM line ORDER BY text"
_three = [("0",), ("1",), ("2",)]
KINDS = [
    Kind("upserts and commits", _upsert, _METRICS, [("m0", 12), ("m1", 16)], Base.metadata, records=7),
    Kind("inserts, commits and catches", _insert_caught, _METRICS, [("m0", 1), ("m1", 2), ("m2", 4)], Base.metadata,
         records=5),
    Kind("adds, commits and catches", _add_caught, _LINES, _three, Base.metadata, records=5),
    Kind("holds, commits and catches", _add_held_caught, _LINES, _three, Base.metadata, records=5),
    Kind("adds after a refused commit", _add_after_refusal, _LINES,
         [("0",), ("1",), ("2",), ("3 again",), ("5 again",)], Base.metadata, records=5),
    Kind("adds after a refused commit without a rollback", _add_without_rollback, _LINES, _three, Base.metadata,
         records=5),
    Kind("queries after a refused commit", _query_without_rollback, _LINES,
         [("0",), ("1",), ("2",), ("3 refused",), ("5 refused",)], Base.metadata, records=5),
    Kind("commits some", _commit_some, _LINES, [("0",), ("1",), ("2",), ("3",)], Base.metadata,
         frozenset({3, 5, 7}), records=7),
    Kind("commits, and raises", _commit_and_raise, "SELECT text FROM line WHERE text NOT LIKE '%lost' ORDER BY id",
         [("1",), ("2",), ("3",), ("4",)], Base.metadata, frozenset({1, 3}), not_exactly_once=frozenset({1, 3})),
    Kind("commits twice", _commit_twice, _METRICS, [("all", 10), ("m0", 6), ("m1", 4)], Base.metadata),
    Kind("looks after a commit", _look_after_commit, _LINES,
         [("1",), ("1 True True True",), ("2",), ("2 True True True",)], Base.metadata, records=2),
    Kind("rolls back, and adds", _roll_back_first, "SELECT text FROM line ORDER BY id",
         [("1",), ("2 lost",), ("2",), ("3",), ("4 lost",), ("4",)], Base.metadata),
    Kind("adds again what it has rolled back", _roll_back_and_readd, _LINES,
         [("1",), ("1 False",), ("2",), ("2 False",)], Base.metadata, records=2),
    Kind("breaks a deferred constraint, and catches", _break_deferred, "SELECT text FROM note ORDER BY text",
         [("1",), ("2",), ("4",)], Base.metadata),
    Kind("looks up, changes and commits", _look_up_and_commit, _METRICS, [("m0", 6), ("m1", 9)], Base.metadata,
         records=5),
    Kind("keeps the result of a commit", _keep_result, "SELECT count(*) FROM line", [(3,)], Base.metadata,
         frozenset({3, 5}), records=5),
]  # fmt: skip
