"""The plain loop that everything is held against, and the ways in which streamfea does the same."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, MetaData, create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from streamfea.core.entry import Entry
from streamfea.core.group_ref import GroupRef
from streamfea.database.exactly_once.ledger import LEDGER_TABLES, Ledger
from streamfea.database.session.session import DbSession, open_sessions
from streamfea.worker.policy import Outcome, Verdict
from tests.support.entries import entries, group_commit, number_of, run_entries
from tests.support.plain_loop import one_by_one

__all__ = ["WAYS", "Kind", "Seen", "Way", "plain_loop"]

Process = Callable[[Session, int], object]
Listening = Callable[[Any, list[Any]], AbstractContextManager[None]]

_BATCH_SIZE = 500


@dataclass(frozen=True)
class Kind:
    """Something that handlers do.

    `process` gets a session and the number of its record, from 1 to `records`. `query` asks for all that they left, and
    `expected` is what the plain loop leaves: its rows, and the numbers of the records that fail. `ddl` comes after the
    tables of `metadata`. `listening` is given what sessions are made of (a class, or a factory) and a list in which to
    note what is heard; the notes are compared, too. `forget` is called before each run, for what a handler keeps in its
    module. `not_exactly_once` names what exactly-once cannot allow, with the verdicts that it has for that.
    """

    name: str
    process: Process
    query: str
    expected: Sequence[tuple[Any, ...]]
    metadata: MetaData
    failed: frozenset[int] = frozenset()
    records: int = 4
    ddl: Sequence[str] = ()
    listening: Listening = lambda _sessions, _heard: nullcontext()
    forget: Callable[[], object] = lambda: None
    not_exactly_once: frozenset[int] | None = None

    def make_tables(self, database_url: str) -> None:
        """Make the kind's tables, and the ledger's."""
        with _engine(database_url) as engine:
            self.metadata.create_all(engine)
            for table in LEDGER_TABLES:
                table.create(engine)
            with engine.begin() as connection:
                for statement in self.ddl:
                    connection.exec_driver_sql(statement)

    def see(self, way: "Way", database_url: str) -> "Seen":
        """Do the kind's records in a way, in empty tables."""
        with _engine(database_url) as engine:
            with engine.begin() as connection:
                tables = ", ".join(connection.scalars(_TABLES))
                connection.exec_driver_sql(f"TRUNCATE {tables} RESTART IDENTITY")
            self.forget()
            return way(self, engine)


# Those of the kind's own schema, and of others that it has made; tests come one after the other.
_TABLES = text(
    "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
    "WHERE schemaname IN (current_schema(), 't1', 't2', 'ruled')"
)


@contextmanager
def _engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


@dataclass
class Seen:
    """All that can be told afterwards: the rows, which records failed, what listeners heard."""

    rows: list[tuple[Any, ...]]
    failed: frozenset[int]
    heard: list[Any] = field(default_factory=list)


Way = Callable[[Kind, Engine], Seen]


def plain_loop(kind: Kind, engine: Engine) -> Seen:
    """Do a session and a transaction for each record."""

    class PlainSession(Session):
        entry: Entry

    def process(session: Session, entry: Entry) -> None:
        session.entry = entry  # type: ignore[attr-defined]  # it is a PlainSession
        kind.process(session, number_of(entry))

    heard: list[Any] = []
    sessions = sessionmaker(engine, class_=PlainSession)
    with kind.listening(sessions, heard):
        outcomes = one_by_one(sessions, process, entries(*range(1, kind.records + 1)))
    return Seen(_rows(kind, engine), _failed(outcomes), heard)


def _in_groups(*, bulk: bool = True, exactly_once: bool = False, batch_size: int = _BATCH_SIZE, parts: int = 0) -> Way:
    """Return a way in which streamfea does it: in so many `parts`, each of which runs while the one before commits."""

    def way(kind: Kind, engine: Engine) -> Seen:
        heard: list[Any] = []
        sessions = open_sessions(engine, bulk=bulk)
        commit = group_commit(
            sessions,
            lambda session, entry: kind.process(session, number_of(entry)),
            batch_size=batch_size,
            ledger=Ledger(GroupRef("s", "g")) if exactly_once else None,
            overlap=parts > 0,
        )
        with kind.listening(sessions.factory, heard):
            outcomes = run_entries(commit, entries(*range(1, kind.records + 1)), -(-kind.records // (parts or 1)))
        assert len(outcomes) == kind.records
        return Seen(_rows(kind, engine), _failed(outcomes), heard)

    return way


def plain_batch(kind: Kind, engine: Engine) -> Seen:
    """Do a session and a transaction for all records; if that fails, one for each."""

    class PlainSession(Session):
        entry: Entry

    heard: list[Any] = []
    with kind.listening(factory := sessionmaker(engine, class_=PlainSession), heard), factory() as session:
        try:
            for each in entries(*range(1, kind.records + 1)):
                session.entry = each
                kind.process(session, number_of(each))
            session.commit()
            return Seen(_rows(kind, engine), frozenset(), heard)
        except Exception:
            session.rollback()
    kind.forget()
    return plain_loop(kind, engine)


def in_batch(*, bulk: bool = True) -> Way:
    """Return a way in which `process_batch()` does all records."""

    def way(kind: Kind, engine: Engine) -> Seen:
        def process_batch(session: DbSession, ids: list[str]) -> None:
            for each in entries(*range(1, kind.records + 1)):
                session.entry = each
                kind.process(session, number_of(each))

        def process(session: DbSession, entry: Entry) -> None:
            kind.process(session, number_of(entry))

        heard: list[Any] = []
        sessions = open_sessions(engine, bulk=bulk)
        commit = group_commit(sessions, process, process_batch, batch_size=_BATCH_SIZE)
        with kind.listening(sessions.factory, heard):
            outcomes = run_entries(commit, entries(*range(1, kind.records + 1)))
        return Seen(_rows(kind, engine), _failed(outcomes), heard)

    return way


def _failed(outcomes: Sequence[Outcome]) -> frozenset[int]:
    return frozenset(number_of(outcome.entry) for outcome in outcomes if outcome.verdict is Verdict.FAILED)


def _rows(kind: Kind, engine: Engine) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(kind.query))]


WAYS: dict[str, Way] = {
    "copy": _in_groups(),
    "flush": _in_groups(bulk=False),
    "exactly once": _in_groups(exactly_once=True),
    "overlapping": _in_groups(parts=2),
    "overlapping, exactly once": _in_groups(parts=2, exactly_once=True),
    "alone": _in_groups(batch_size=1),
}
