"""Handlers whose work is watched: by listeners of sessions and mappers, defaults that look around, and triggers."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, object_session

from tests.differential.ways import Kind

__all__ = ["KINDS"]

WHO: ContextVar[str | None] = ContextVar("who", default=None)
NAMES = ["ann", "bob", "ann", "cy"]


class Base(DeclarativeBase):
    pass


class Stamped(Base):
    __tablename__ = "stamped"
    id: Mapped[int] = mapped_column(primary_key=True)
    who: Mapped[str | None]


class Defaulted(Base):
    __tablename__ = "defaulted"
    id: Mapped[int] = mapped_column(primary_key=True)
    who: Mapped[str | None] = mapped_column(default=WHO.get)


class Marked(Base):
    __tablename__ = "marked"
    id: Mapped[int] = mapped_column(primary_key=True)
    who: Mapped[str | None]


class Refreshed(Base):
    __tablename__ = "refreshed"
    id: Mapped[int] = mapped_column(primary_key=True)
    who: Mapped[str | None]


@event.listens_for(Marked, "before_insert")
def _mark(_mapper: object, _connection: object, marked: Marked) -> None:
    session: Any = object_session(marked)
    marked.who = session.entry.id


def listening(name: str, hear: Any, target: Any = None) -> Any:
    @contextmanager
    def listen(sessions: Any, heard: list[Any]) -> Iterator[None]:
        on = target if target is not None else sessions

        def listener(*arguments: Any) -> None:
            hear(heard, *arguments)

        event.listen(on, name, listener)
        try:
            yield
        finally:
            event.remove(on, name, listener)

    return listen


def _stamp_from_info(_heard: list[Any], session: Session, *_: Any) -> None:
    for new in session.new:
        new.who = session.info.get("user")


def _stamp_from_context(heard: list[Any], session: Session, *_: Any) -> None:
    heard.append(len(session.new))
    for new in session.new:
        new.who = WHO.get()


def _count_new(heard: list[Any], session: Session, *_: Any) -> None:
    heard.append(len(session.new))


def _note(heard: list[Any], *_: Any) -> None:
    heard.append("heard")


def _add_with_info(session: Session, number: int) -> None:
    session.info["user"] = NAMES[number - 1]
    session.add(Stamped())


def _add_with_info_of_some(session: Session, number: int) -> None:
    if number % 2:
        session.info["user"] = NAMES[number - 1]
    session.add(Stamped())


def _add_in_context(session: Session, number: int) -> None:
    WHO.set(NAMES[number - 1])
    session.add(Stamped())


def _add_defaulted(session: Session, number: int) -> None:
    WHO.set(NAMES[number - 1])
    session.add(Defaulted())


def _listen_in_record(session: Session, number: int) -> None:
    @event.listens_for(session, "before_flush")
    def stamp(session: Session, *_: Any) -> None:
        for new in session.new:
            new.who = f"{new.who or ''}{number}"

    session.add(Stamped())


def _set_attribute(session: Session, number: int) -> None:
    this: Any = session
    if number % 2:
        this.user = NAMES[number - 1]
    session.add(Stamped(who=getattr(session, "user", None)))


def _commit_self(session: Session, number: int) -> None:
    session.add(Stamped(who=NAMES[number - 1]))
    session.commit()


stamped = "SELECT who FROM stamped ORDER BY id"
all_names = [(name,) for name in NAMES]

KINDS = [
    Kind("before_flush stamps from info", _add_with_info, stamped, all_names, Base.metadata,
         listening=listening("before_flush", _stamp_from_info)),
    Kind("before_flush stamps from info, on all sessions", _add_with_info, stamped, all_names, Base.metadata,
         listening=listening("before_flush", _stamp_from_info, Session)),
    Kind("info ends with its record", _add_with_info_of_some, stamped, [("ann",), (None,), ("ann",), (None,)],
         Base.metadata, listening=listening("before_flush", _stamp_from_info)),
    Kind("before_flush stamps from a context variable", _add_in_context, stamped, all_names, Base.metadata,
         listening=listening("before_flush", _stamp_from_context)),
    Kind("before_commit sees its record's objects", _add_in_context, stamped, all_names, Base.metadata,
         listening=listening("before_commit", _stamp_from_context)),
    Kind("before_commit of many", _add_in_context, "SELECT count(*) FROM stamped", [(4,)], Base.metadata,
         listening=listening("before_commit", _count_new)),
    Kind("before_commit beside the handler's own", _commit_self, stamped, all_names, Base.metadata,
         listening=listening("before_commit", _count_new)),
    Kind("after_commit", _add_in_context, "SELECT count(*) FROM stamped", [(4,)], Base.metadata,
         listening=listening("after_commit", _note)),
    Kind("after_flush", _add_in_context, "SELECT count(*) FROM stamped", [(4,)], Base.metadata,
         listening=listening("after_flush", _count_new)),
    Kind("transient_to_pending", _add_in_context, "SELECT count(*) FROM stamped", [(4,)], Base.metadata,
         listening=listening("transient_to_pending", _note)),
    Kind("pending_to_persistent", _add_in_context, "SELECT count(*) FROM stamped", [(4,)], Base.metadata,
         listening=listening("pending_to_persistent", _note)),
    Kind("persistent_to_detached", _add_in_context, "SELECT count(*) FROM stamped", [(4,)], Base.metadata,
         listening=listening("persistent_to_detached", _note)),
    Kind("refresh_flush", lambda session, number: session.add(Refreshed()), "SELECT count(*) FROM refreshed", [(4,)],
         Base.metadata, listening=listening("refresh_flush", _note, Refreshed)),
    Kind("a default that reads a context variable", _add_defaulted, "SELECT who FROM defaulted ORDER BY id", all_names,
         Base.metadata),
    Kind("before_insert that asks for the entry", lambda session, number: session.add(Marked()),
         "SELECT who FROM marked ORDER BY id", [(f"{number}-0",) for number in range(1, 5)], Base.metadata),
    Kind("a listener on the record's own session", _listen_in_record, stamped, [("1",), ("2",), ("3",), ("4",)],
         Base.metadata),
    Kind("an attribute on the session ends with its record", _set_attribute, stamped,
         [("ann",), (None,), ("ann",), (None,)], Base.metadata),
]  # fmt: skip

audited = MetaData()
Table("thing", audited, Column("id", Integer, primary_key=True), Column("name", String))
Table("audit", audited, Column("id", Integer, primary_key=True), Column("seen", Integer))


class AuditedBase(DeclarativeBase):
    metadata = audited


class Thing(AuditedBase):
    __table__ = audited.tables["thing"]


def _trigger(timing: str, each: str, body: str, returns: str) -> list[str]:
    return [
        f"CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN {returns}; END $$",
        f"CREATE TRIGGER watch {timing} INSERT ON thing FOR EACH {each} EXECUTE FUNCTION watch()",
    ]


def _add_thing(session: Session, number: int) -> None:
    session.add(Thing(name=f"{number}"))


_count_things = "INSERT INTO audit (seen) SELECT count(*) FROM thing"
_counted = [(1,), (2,), (3,), (4,)]

KINDS += [
    Kind("a trigger for a row counts", _add_thing, "SELECT seen FROM audit ORDER BY id", _counted, audited,
         ddl=_trigger("AFTER", "ROW", _count_things, "NULL")),
    Kind("a trigger for a statement counts", _add_thing, "SELECT seen FROM audit ORDER BY id", _counted, audited,
         ddl=_trigger("AFTER", "STATEMENT", _count_things, "NULL")),
    Kind("a trigger that swallows a row", _add_thing, "SELECT name FROM thing ORDER BY id", [("1",), ("3",), ("4",)],
         audited, failed=frozenset({2}),
         ddl=_trigger("BEFORE", "ROW", "IF NEW.name = '2' THEN RETURN NULL; END IF", "NEW")),
]  # fmt: skip
