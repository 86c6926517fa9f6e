"""While PostgreSQL commits one batch, the next runs; and what it sees is what was committed, in order."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, Table, create_engine, event, func, make_url, select, text
from sqlalchemy.orm import Session

from streamfea.core.entry import Entry
from streamfea.database.session.session import DbSession, Sessions, open_sessions
from streamfea.worker.pipeline import GroupCommit
from streamfea.worker.policy import Outcome, Verdict
from streamfea.worker.transaction import RunEntry
from tests.support.entries import entries, finished, group_commit, ids, submitted
from tests.support.steps import TABLES, Plain
from tests.support.waiting import wait_until
from tests.support.worlds import empty_tables, row_notes


@pytest.fixture
def tables() -> Sequence[Table]:
    return TABLES


@pytest.fixture
def own_database(engine: Engine, database_url: str) -> Iterator[Engine]:
    url = make_url(database_url).set(database="closed").difference_update_query(["options"])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE closed"))
        own = create_engine(url)
        for table in TABLES:
            table.create(own)
        yield own
        own.dispose()
        connection.execute(text("DROP DATABASE closed WITH (FORCE)"))


def test_records_run_while_those_before_them_commit(engine: Engine, sessions: Sessions) -> None:
    ran: list[str] = []
    commit = adding(engine, sessions, ran)
    with nobody_can_write(engine):
        assert submitted(commit, entries(1, 2)) == []
        assert ran == ["1-0", "2-0"]
        following = Following(commit, entries(3, 4))
        wait_until(lambda: ran == ["1-0", "2-0", "3-0", "4-0"], "the next batch runs")
        assert not following.outcomes
        assert row_notes(engine) == []
    following.join()
    assert ids(following.outcomes) == ["1-0", "2-0"]
    assert ids([one for some in finished(commit) for one in some]) == ["3-0", "4-0"]
    assert row_notes(engine) == ["1-0", "2-0", "3-0", "4-0"]


def test_what_is_committed_is_told_before_the_next_batch_waits_for_its_table(
    engine: Engine, sessions: Sessions
) -> None:
    ran: list[str] = []
    commit = adding(engine, sessions, ran)
    assert submitted(commit, entries(1, 2)) == []
    wait_until(lambda: row_notes(engine) == ["1-0", "2-0"], "the first batch is committed")
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE plain IN SHARE MODE"))
        following = Following(commit, entries(3, 4))
        wait_until(lambda: ids(following.outcomes) == ["1-0", "2-0"], "it is told")
        assert row_notes(engine) == ["1-0", "2-0"]
    following.join()
    assert ids([one for some in finished(commit) for one in some]) == ["3-0", "4-0"]


@pytest.mark.core
def test_a_record_that_queries_waits_for_those_before_it(engine: Engine, sessions: Sessions) -> None:
    seen: list[int] = []
    asked = threading.Event()

    def process(session: DbSession, entry: Entry) -> None:
        if entry.id == "3-0":
            asked.set()
            seen.append(session.scalar(select(func.count()).select_from(Plain)) or 0)
        session.add(Plain(note=entry.id))

    commit = well_known(engine, sessions, process)
    with nobody_can_write(engine):
        assert submitted(commit, entries(1, 2)) == []
        following = Following(commit, entries(3, 4))
        assert asked.wait(10)
        for _ in range(100):
            assert row_notes(engine) == []  # others' queries are answered meanwhile
        assert seen == []
    following.join()
    assert seen == [2]
    assert ids(following.outcomes) == ["1-0", "2-0", "3-0", "4-0"]


@pytest.mark.core
def test_what_fails_to_commit_is_done_before_what_ran_meanwhile(engine: Engine, sessions: Sessions) -> None:
    ran: list[str] = []
    commit = adding(engine, sessions, ran)
    with nobody_can_write(engine):
        assert submitted(commit, entries(1, 2)) == []
        following = Following(commit, entries(3, 4))
        wait_until(lambda: len(ran) >= 4, "the next batch runs")
        cut_who_waits(engine)
        wait_until(lambda: len(ran) >= 5, "the first batch runs again, each record alone")
    following.join()
    assert ran == ["1-0", "2-0", "3-0", "4-0", "1-0", "2-0", "3-0", "4-0"]
    outcomes = following.outcomes + [one for some in finished(commit) for one in some]
    assert ids(outcomes) == ["1-0", "2-0", "3-0", "4-0"]
    assert {one.verdict for one in outcomes} == {Verdict.DONE}
    assert row_notes(engine) == ["1-0", "2-0", "3-0", "4-0"]


def test_a_bad_record_that_commits_late_fails_alone(engine: Engine, sessions: Sessions) -> None:
    commit = well_known(engine, sessions, lambda session, one: session.add(Plain(note=one.id, code=taken(one))))
    with Session(engine) as session:
        session.add(Plain(note="before", code=1))
        session.commit()
    assert submitted(commit, entries(1, 2)) == []
    [first] = submitted(commit, entries(3, 4))
    [second] = finished(commit)
    assert [one.verdict for one in [*first, *second]] == [Verdict.DONE, Verdict.FAILED, Verdict.DONE, Verdict.DONE]
    assert row_notes(engine) == ["before", "1-0", "3-0", "4-0"]


def test_a_server_that_takes_no_connections_is_waited_for(engine: Engine, own_database: Engine) -> None:
    ran: list[str] = []
    commit = adding(own_database, open_sessions(own_database), ran)
    own_database.dispose()
    allow = f"ALTER DATABASE {own_database.url.database} ALLOW_CONNECTIONS"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"{allow} false"))
        assert submitted(commit, entries(1, 2)) == []
        following = Following(commit, entries(3, 4))
        # Then the first runs again, each of its records alone.
        wait_until(lambda: ran[:4] == ["1-0", "2-0", "3-0", "4-0"], "the next batch runs")
        connection.execute(text(f"{allow} true"))
    following.join()
    outcomes = following.outcomes + [one for some in finished(commit) for one in some]
    assert ids(outcomes) == ["1-0", "2-0", "3-0", "4-0"]
    assert row_notes(own_database) == ["1-0", "2-0", "3-0", "4-0"]


def test_whoever_listens_to_the_session_is_called_in_the_thread_of_the_handler(
    engine: Engine, sessions: Sessions
) -> None:
    threads: list[int] = []

    def process(session: DbSession, entry: Entry) -> None:
        event.listen(session, "after_commit", lambda _: threads.append(threading.get_ident()))
        session.add(Plain(note=entry.id))

    commit = well_known(engine, sessions, process)
    assert ids([one for some in submitted(commit, entries(1, 2)) for one in some]) == ["1-0", "2-0"]
    assert set(threads) == {threading.get_ident()}


class Following:
    """A batch that is run in a thread, and what has come of it."""

    def __init__(self, commit: GroupCommit, batch: list[Entry]) -> None:
        self.outcomes: list[Outcome] = []
        self._commit = commit
        self._batch = batch
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        self._commit.submit(self._batch, lambda outcomes, _: self.outcomes.extend(outcomes))


def adding(engine: Engine, sessions: Sessions, ran: list[str]) -> GroupCommit:
    def process(session: DbSession, entry: Entry) -> None:
        ran.append(entry.id)
        session.add(Plain(note=entry.id))

    return well_known(engine, sessions, process)


def well_known(engine: Engine, sessions: Sessions, process: RunEntry) -> GroupCommit:
    """Return one that knows already how the model's objects are written, as it does after its first batch."""
    empty_tables(engine)
    commit = group_commit(
        sessions,
        lambda session, entry: session.add(Plain(note="first")) if entry.id == "0-0" else process(session, entry),
        overlap=True,
    )
    assert [outcome for some in submitted(commit, entries(0)) for outcome in some]
    assert finished(commit) == []
    empty_tables(engine)
    return commit


@contextmanager
def nobody_can_write(engine: Engine) -> Iterator[None]:
    """Have the next keys in a transaction that may yet commit: PostgreSQL takes rows, and waits with them."""
    next_ids = text(
        "INSERT INTO plain (id, note) SELECT last_value + n, '' FROM plain_id_seq, generate_series(0, 50) AS n"
    )
    with engine.connect() as connection:
        connection.execute(next_ids)
        yield


def cut_who_waits(engine: Engine) -> None:
    """End the session that waits for the lock."""
    query = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with engine.connect() as connection:
        wait_until(lambda: bool(connection.execute(query).all()), "a session waits for the lock")


def taken(entry: Entry) -> int | None:
    return 1 if entry.id == "2-0" else None
