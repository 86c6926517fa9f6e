"""The handler of the fault machine: leaves a row for every record that it was told to be good."""

import ctypes
import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import Column, ForeignKey, Integer, String, Table, event, insert, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, mapped_column, object_session

from streamfea import Reject, Retry
from streamfea.database.session.session import DbSession
from streamfea.model import Base

LONGER_THAN_CLAIM_IDLE_SECONDS = 3.0
LONGER_THAN_IDLE_IN_TRANSACTION_SECONDS = 4.5


class Effect(Base):
    __tablename__ = "effect"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(index=True)
    do: Mapped[str]
    stream: Mapped[str]
    entry: Mapped[str]


class Watched(Base):
    __tablename__ = "watched"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]
    entry: Mapped[str]


class Account(Base):
    """Both accounts get one for each record that crosses them."""

    __tablename__ = "account"

    name: Mapped[str] = mapped_column(primary_key=True)
    total: Mapped[int]


def _effects(name: str) -> Table:
    """Return a table for rows that Core writes, whose INSERT is that of another table but for the name."""
    return Table(
        name,
        Base.metadata,
        Column("id", Integer, primary_key=True),
        Column("number", Integer, nullable=False),
        *(Column(one, String, nullable=False) for one in ("do", "stream", "entry")),
    )


new_effects, old_effects = _effects("new_effect"), _effects("old_effect")
late = Table(
    "late",
    Base.metadata,
    Column("id", Integer, primary_key=True),
    Column("account", ForeignKey("account.name", deferrable=True, initially="DEFERRED"), nullable=False),
)


def process(dbsession: DbSession, record: bytes) -> None:
    wanted = json.loads(record)
    entry = dbsession.entry
    effect = Effect(number=wanted["n"], do=wanted["do"], stream=entry.stream, entry=entry.id)
    DEEDS[wanted["do"]](dbsession, effect, wanted)
    if dbsession.entry.queue == "old":
        insert_by_core(dbsession, old_effects, effect)
    elif wanted["do"] == "core":
        insert_by_core(dbsession, new_effects, effect)
    else:
        dbsession.add(effect)


def insert_by_core(dbsession: DbSession, table: Table, effect: Effect) -> None:
    values = {"number": effect.number, "do": effect.do, "stream": effect.stream, "entry": effect.entry}
    dbsession.execute(insert(table), values)


_held: list[Effect] = []

Deed = Callable[[DbSession, Effect, dict[str, Any]], object]


def commit(dbsession: DbSession, effect: Effect, _: dict[str, Any]) -> None:
    dbsession.add(effect)
    dbsession.commit()


def roll_back(dbsession: DbSession, effect: Effect, _: dict[str, Any]) -> None:
    dbsession.add(Effect(number=-1, do=effect.do, stream="", entry=""))
    dbsession.flush()
    dbsession.rollback()


def ask_once(dbsession: DbSession, *_: object) -> None:
    if dbsession.entry.deliveries == 1:
        raise Retry("asked for another try", delay="200ms")


def cross(dbsession: DbSession, _: Effect, wanted: dict[str, Any]) -> None:
    for name in wanted["order"]:
        dbsession.execute(text("UPDATE account SET total = total + 1 WHERE name = :name"), {"name": name})
        time.sleep(0.005)


def use_driver(dbsession: DbSession, *_: object) -> None:
    """Ask for psycopg's own connection, as recipes for COPY do."""
    raw: Any = dbsession.connection().connection
    raw.cursor().execute("SELECT 1")


def set_tenant(dbsession: DbSession, *_: object) -> None:
    """Set what ends with the transaction, and find nothing of another record's."""
    left = dbsession.scalar(text("SELECT current_setting('app.tenant', true)"))
    if left:
        raise RuntimeError(f"the tenant of another record is still set: {left}")
    dbsession.execute(text("SELECT set_config('app.tenant', :tenant, true)"), {"tenant": dbsession.entry.id})


def hold(_session: DbSession, effect: Effect, _: dict[str, Any]) -> None:
    """Keep the record's object, and spoil the one that was kept before: its row is as it was."""
    for earlier in _held:
        earlier.number = -1
    _held[:] = [effect]


def be_watched(dbsession: DbSession, effect: Effect, _: dict[str, Any]) -> None:
    """Add an object that a listener looks at, which must find the record's own entry."""
    dbsession.add(Watched(number=effect.number, entry=effect.entry))


@event.listens_for(Watched, "before_insert")
def _look(_mapper: object, _connection: object, watched: Watched) -> None:
    session = object_session(watched)
    if not isinstance(session, DbSession) or session.entry.id != watched.entry:
        raise RuntimeError(f"the object of entry {watched.entry} was flushed for another")


def fail(*_: object) -> None:
    raise ValueError("asked to fail")


def violate(_session: DbSession, effect: Effect, _: dict[str, Any]) -> None:
    effect.number = None  # type: ignore[assignment]  # that is the violation


def violate_late(dbsession: DbSession, *_: object) -> None:
    dbsession.execute(late.insert(), {"account": "nobody's"})


def swallow(dbsession: DbSession, *_: object) -> None:
    """Go on after an SQL error as if nothing were."""
    with suppress(SQLAlchemyError):
        dbsession.execute(text("SELECT 1 / 0"))


def doze(dbsession: DbSession, *_: object) -> None:
    """Sleep in a transaction for longer than the role may."""
    dbsession.execute(text("SELECT 1"))
    time.sleep(LONGER_THAN_IDLE_IN_TRANSACTION_SECONDS)


def ask_always(*_: object) -> None:
    raise Retry("asked to wait", delay="200ms")


def reject(*_: object) -> None:
    raise Reject("asked to reject")


def sleep_in_c(seconds: float) -> None:
    """Sleep with the interpreter's lock held, so that no other thread of the process can run."""
    over = time.monotonic() + seconds
    while time.monotonic() < over:  # a signal ends a sleep early
        ctypes.PyDLL(None).sleep(int(seconds))


def kill_with(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


DEEDS: dict[str, Deed] = {
    "add": lambda *_: None,
    "core": lambda *_: None,
    "commit": commit,
    "roll-back": roll_back,
    "flaky": ask_once,
    "cross": cross,
    "slow": lambda *_: time.sleep(LONGER_THAN_CLAIM_IDLE_SECONDS),
    "slow-in-c": lambda *_: sleep_in_c(LONGER_THAN_CLAIM_IDLE_SECONDS),
    "driver": use_driver,
    "tenant": set_tenant,
    "hold": hold,
    "watched": be_watched,
    "fail": fail,
    "violate": violate,
    "violate-late": violate_late,
    "swallow": swallow,
    "end-backend": lambda dbsession, *_: dbsession.execute(text("SELECT pg_terminate_backend(pg_backend_pid())")),
    "no-table": lambda dbsession, *_: dbsession.execute(text("SELECT * FROM never_there")),
    "doze": doze,
    "retry": ask_always,
    "reject": reject,
    "exit": lambda *_: os._exit(3),
    "segfault": lambda *_: kill_with(signal.SIGSEGV),
    "oom": lambda *_: kill_with(signal.SIGKILL),  # as the kernel does when there is no more memory
    "hang": lambda *_: time.sleep(3600),
    "hang-in-c": lambda *_: sleep_in_c(3600),
}
