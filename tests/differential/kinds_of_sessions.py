"""Handlers that look into their session, keep objects, or end their transaction themselves."""

import copy
from typing import Any

from sqlalchemy import ForeignKey, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, backref, mapped_column, relationship
from sqlalchemy.types import Integer, LargeBinary

from streamfea.model import Base as StreamfeaBase
from tests.differential.ways import Kind

__all__ = ["KINDS"]


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "thing"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(unique=True)
    who: Mapped[str | None]


class Parent(Base):
    __tablename__ = "parent"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]


class Child(Base):
    __tablename__ = "child"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey(Parent.id))
    parent: Mapped[Parent | None] = relationship(backref=backref("children"))


class Ours(StreamfeaBase):
    """Of streamfea's own base, whose objects are made without SQLAlchemy's constructor."""

    __abstract__ = True
    metadata = type(StreamfeaBase.metadata)()


class Quick(Ours):
    __tablename__ = "quick"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]


class Mother(Ours):
    __tablename__ = "mother"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]


class Kid(Ours):
    __tablename__ = "kid"
    id: Mapped[int] = mapped_column(primary_key=True)
    mother_id: Mapped[int | None] = mapped_column(ForeignKey(Mother.id))
    mother: Mapped[Mother | None] = relationship(backref=backref("kids"))


class Held(Base):
    __tablename__ = "held"
    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[dict[str, int] | None] = mapped_column(JSONB)
    numbers: Mapped[list[int] | None] = mapped_column(ARRAY(Integer))
    raw: Mapped[bytes | None] = mapped_column(LargeBinary)


LAST: list[Any] = []
STATE: dict[str, int] = {}
NUMBERS: list[int] = []
RAW = bytearray()


def _forget() -> None:
    LAST.clear()
    STATE.clear()
    NUMBERS.clear()
    RAW.clear()


def _stamp_new(session: Session, number: int) -> None:
    session.add(Thing(name=str(number)))
    for new in session.new:
        new.who = str(number)


def _count_new(session: Session, number: int) -> None:
    session.add(Thing(name=str(number)))
    session.add(Thing(who=f"{len(session.new)} {len(list(session))}"))


def _expunge_new(session: Session, number: int) -> None:
    session.add(Thing(name=str(number)))
    if number == 3:
        for new in session.new:
            session.expunge(new)


def _supersede(session: Session, number: int) -> None:
    thing = Thing(name=str(number), who="current")
    session.add(thing)
    if LAST:
        LAST[0].who = "superseded"
    LAST[:] = [thing]


def _read_last(session: Session, number: int) -> None:
    """An object of a session that is closed tells nothing more."""
    thing = Thing(name=str(number), who=LAST[0].name if LAST and number % 2 == 0 else "")
    session.add(thing)
    LAST[:] = [thing]


def _go_on_changing(session: Session, number: int) -> None:
    STATE.update({str(number): number})
    NUMBERS.append(number)
    RAW.extend(b"%d" % number)
    session.add(Held(state=STATE, numbers=NUMBERS, raw=RAW))


def _child_of_added(session: Session, number: int) -> None:
    parent = Parent(name=str(number))
    session.add(parent)
    Child(parent=parent)


def _kid_of_added(session: Session, number: int) -> None:
    mother = Mother(name=str(number))
    session.add(mother)
    Kid(mother=mother)


def _parent_of_added(session: Session, number: int) -> None:
    kid = Kid()
    session.add(kid)
    kid.mother = Mother(name=str(number))


def _change_copy(session: Session, number: int) -> None:
    original = Quick(name=f"original {number}")
    changed = copy.copy(original)
    changed.name = "changed"
    session.add(changed)


def _change_updated(session: Session, number: int) -> None:
    original = Quick(name=f"original {number}")
    changed = Quick.__new__(Quick)
    changed.__dict__.update(original.__dict__)
    changed.name = "changed"
    session.add(changed)


def _change_copy_of_added(session: Session, number: int) -> None:
    original = Quick(name=f"original {number}")
    session.add(original)
    copy.copy(original).name = "changed"


def _commit_and_swallow(session: Session, number: int) -> None:
    session.add(Thing(name=str((number + 1) // 2), who=str(number)))
    try:
        session.commit()
    except IntegrityError:
        return


def _flush_and_swallow(session: Session, number: int) -> None:
    session.add(Thing(name=str((number + 1) // 2), who=str(number)))
    try:
        session.flush()
    except IntegrityError:
        return


def _commit_twice_and_swallow(session: Session, number: int) -> None:
    session.add(Thing(who=str(number)))
    session.commit()
    _commit_and_swallow(session, number)


def _swallow_in_savepoint(session: Session, number: int) -> None:
    session.add(Thing(who=str(number)))
    try:
        with session.begin_nested():
            session.add(Thing(name=str((number + 1) // 2)))
    except IntegrityError:
        session.add(Thing(who=f"{number} again"))


def _look_up_and_add(session: Session, number: int) -> None:
    name = str((number + 1) // 2)
    if session.scalars(select(Thing).where(Thing.name == name)).one_or_none() is None:
        session.add(Thing(name=name, who=str(session.scalar(select(func.count()).select_from(Thing)))))


def _change_loaded(session: Session, number: int) -> None:
    session.add(Thing(name=str(number)))
    for thing in session.scalars(select(Thing).where(Thing.name != str(number))):
        thing.who = f"{thing.who or ''}{number}"


def _merge(session: Session, number: int) -> None:
    session.merge(Thing(id=1 + number % 2, name=f"{number}"))


def _turn_autoflush_off(session: Session, number: int) -> None:
    if number == 1:
        session.autoflush = False
    session.add(Thing(name=str(number)))
    session.add(Thing(who=str(session.scalar(select(func.count()).select_from(Thing)))))


def _begin_by_text(session: Session, number: int) -> None:
    session.add(Thing(name=str(number)))
    session.flush()
    if number == 3:
        session.execute(text("ROLLBACK"))


things = "SELECT name, who FROM thing ORDER BY id"
quick = "SELECT name FROM quick ORDER BY id"
numbers = range(1, 5)

KINDS = [
    Kind("changes what is new", _stamp_new, things, [(str(n), str(n)) for n in numbers], Base.metadata),
    Kind("counts what is new", _count_new, "SELECT who FROM thing WHERE name IS NULL ORDER BY id", [("1 1",)] * 4,
         Base.metadata),
    Kind("expunges what is new", _expunge_new, "SELECT name FROM thing ORDER BY id", [("1",), ("2",), ("4",)],
         Base.metadata),
    Kind("changes an object of an earlier record", _supersede, things, [(str(n), "current") for n in numbers],
         Base.metadata, forget=_forget),
    Kind("reads an object of an earlier record", _read_last, "SELECT name FROM thing ORDER BY id", [("1",), ("3",)],
         Base.metadata, failed=frozenset({2, 4}), forget=_forget),
    Kind("goes on changing values", _go_on_changing,
         "SELECT (SELECT count(*) FROM jsonb_each(state)), cardinality(numbers), length(raw) FROM held ORDER BY id",
         [(n, n, n) for n in numbers], Base.metadata, forget=_forget),
    Kind("a child of what was added", _child_of_added,
         "SELECT (SELECT count(*) FROM parent), (SELECT count(*) FROM child)", [(40, 0)], Base.metadata, records=40),
    Kind("a child of what was added, made quickly", _kid_of_added,
         "SELECT (SELECT count(*) FROM mother), (SELECT count(*) FROM kid)", [(40, 0)], Ours.metadata, records=40),
    Kind("a parent of what was added", _parent_of_added,
         "SELECT mother.name FROM kid JOIN mother ON mother.id = mother_id ORDER BY kid.id",
         [(str(n),) for n in numbers], Ours.metadata),
    Kind("changes a copy, and adds it", _change_copy, quick, [(f"original {n}",) for n in numbers], Ours.metadata),
    Kind("changes a copied dictionary", _change_updated, quick, [(f"original {n}",) for n in numbers], Ours.metadata),
    Kind("changes a copy of what was added", _change_copy_of_added, quick, [(f"original {n}",) for n in numbers],
         Ours.metadata),
    Kind("commits, and takes a double for done", _commit_and_swallow, things, [("1", "1"), ("2", "3")], Base.metadata),
    Kind("flushes, and takes a double for done", _flush_and_swallow, things, [("1", "1"), ("2", "3")], Base.metadata),
    Kind("commits something else, and then takes a double for done", _commit_twice_and_swallow,
         "SELECT count(name), count(*) FROM thing", [(2, 6)], Base.metadata),
    Kind("takes a double for done in a savepoint", _swallow_in_savepoint,
         "SELECT who FROM thing WHERE who IS NOT NULL ORDER BY id",
         [("1",), ("2",), ("2 again",), ("3",), ("4",), ("4 again",)], Base.metadata),
    Kind("looks up, then adds", _look_up_and_add, things, [("1", "0"), ("2", "1")], Base.metadata),
    Kind("changes what it has loaded", _change_loaded, things,
         [("1", "234"), ("2", "34"), ("3", "4"), ("4", None)], Base.metadata),
    Kind("merges", _merge, "SELECT id, name FROM thing ORDER BY id", [(1, "4"), (2, "3")], Base.metadata),
    Kind("turns autoflush off", _turn_autoflush_off, "SELECT who FROM thing WHERE who IS NOT NULL ORDER BY id",
         [("0",), ("3",), ("5",), ("7",)], Base.metadata),
    Kind("ends the transaction by its text", _begin_by_text, "SELECT name FROM thing ORDER BY id",
         [("1",), ("2",), ("4",)], Base.metadata, not_exactly_once=frozenset({3})),
]  # fmt: skip
