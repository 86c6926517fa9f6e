"""A batch in one transaction is what one transaction per record would have been."""

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, event, insert, select, text
from sqlalchemy.exc import PendingRollbackError
from sqlalchemy.orm import Session, sessionmaker

from streamfea.core.entry import Entry
from streamfea.database.session.session import DbSession, open_sessions
from streamfea.worker.pipeline import GroupCommit
from streamfea.worker.policy import Outcome, Verdict, outcome_of
from streamfea.worker.stop_signal import StopSignal
from tests.support.steps import STEPS, Base, Item, Owner, Plain, run_steps

_EXAMPLES = int(os.environ.get("STREAMFEA_TEST_EXAMPLES", "150"))

Records = list[list[str]]

NEVER = StopSignal()


@dataclass(frozen=True)
class World:
    """All that can be seen afterwards: the rows, and what became of each record."""

    rows: list[object]
    verdicts: list[tuple[int, Verdict, str]]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine, database_url: str) -> Iterator["sessionmaker[DbSession]"]:
    own = create_engine(database_url)
    yield open_sessions(own)
    own.dispose()


records = st.lists(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=4), max_size=8)


@settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(batch=records, batch_size=st.sampled_from([1, 2, 3, 100]), at_once=st.sampled_from([0, 1, 2, 3]))
@example(batch=[["add_taken"], ["add_taken", "swallow_commit"], ["count"]], batch_size=100, at_once=0)
@example(batch=[["add_null"], ["swallow_savepoint", "add"], ["count"]], batch_size=100, at_once=0)
@example(batch=[["add_late"], ["add_late"], ["count", "commit", "fail"]], batch_size=100, at_once=0)
@example(batch=[["add_plain"], ["add_taken"], ["count"]], batch_size=100, at_once=1)
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # what careless handlers do is warned of, rightly
def test_a_batch_does_what_one_transaction_per_record_does(
    engine: Engine, sessions: "sessionmaker[DbSession]", batch: Records, batch_size: int, at_once: int
) -> None:
    expected = one_by_one(engine, batch)
    assert in_groups(engine, sessions, batch, batch_size, at_once) == expected


def test_clean_records_share_one_transaction(engine: Engine, sessions: "sessionmaker[DbSession]") -> None:
    in_groups(engine, sessions, [["add_plain"]] * 100, 500)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(DISTINCT xmin::text) FROM plain")).scalar_one() == 1


def test_a_culprit_among_many_is_found_with_few_transactions(
    engine: Engine, sessions: "sessionmaker[DbSession]"
) -> None:
    transactions = count_transactions(sessions)
    world = in_groups(engine, sessions, [*[["add_plain"]] * 250, ["add_null"], *[["add_plain"]] * 249], 500)
    assert [verdict for _, verdict, _ in world.verdicts].count(Verdict.FAILED) == 1
    assert transactions() <= 4


def test_a_culprit_whose_flush_fails_costs_few_transactions(engine: Engine, database_url: str) -> None:
    own = create_engine(database_url)
    sessions = open_sessions(own, bulk=False)
    transactions = count_transactions(sessions)
    batch = [*[["add_plain"]] * 20, ["add_taken"], ["add_taken"], *[["add_plain"]] * 20]
    assert [verdict for _, verdict, _ in in_groups(engine, sessions, batch, 500).verdicts].count(Verdict.FAILED) == 1
    own.dispose()
    assert transactions() <= 4


def test_a_handler_that_keeps_committing_gets_a_transaction_for_each_record(
    engine: Engine, sessions: "sessionmaker[DbSession]"
) -> None:
    transactions = count_transactions(sessions)
    in_groups(engine, sessions, [["add_plain", "commit"]] * 20, 100)
    # Two for each record, the handler's and the one after it, and a few until the habit is known.
    assert transactions() <= 20 * 2 + 6


def test_a_conflict_is_nobodys_fault(engine: Engine, sessions: "sessionmaker[DbSession]") -> None:
    seen: list[str] = []

    def process(session: DbSession, entry: Entry) -> None:
        seen.append(entry.id)
        session.add(Plain(note=entry.id))
        if seen.count("3-0") == 1 and entry.id == "3-0":
            session.execute(text("DO $$ BEGIN RAISE 'conflict' USING ERRCODE = '40001'; END $$"))

    empty(engine)
    outcomes = run(GroupCommit(sessions, process, batch_size=9, commit_interval_seconds=9, stop=StopSignal()), 5)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.DONE] * 5
    assert sorted(row_notes(engine)) == ["1-0", "2-0", "3-0", "4-0", "5-0"]


def test_a_connection_that_dies_in_the_middle_of_a_batch_costs_nothing(
    engine: Engine, sessions: "sessionmaker[DbSession]"
) -> None:
    killed: list[int] = []

    def process(session: DbSession, entry: Entry) -> None:
        session.add(Plain(note=entry.id))
        if entry.id == "3-0" and not killed:
            killed.append(session.execute(text("SELECT pg_backend_pid()")).scalar_one())
            with engine.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": killed[0]})

    empty(engine)
    outcomes = run(GroupCommit(sessions, process, batch_size=9, commit_interval_seconds=9, stop=StopSignal()), 5)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.DONE] * 5
    assert sorted(row_notes(engine)) == ["1-0", "2-0", "3-0", "4-0", "5-0"]


def test_a_handler_that_hides_the_death_of_its_connection_is_run_again(
    engine: Engine, sessions: "sessionmaker[DbSession]"
) -> None:
    killed: list[int] = []

    def process(session: DbSession, entry: Entry) -> None:
        session.add(Plain(note=entry.id))
        if entry.id == "2-0" and not killed:
            killed.append(session.execute(text("SELECT pg_backend_pid()")).scalar_one())
            with engine.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": killed[0]})
            try:
                session.execute(text("SELECT 1"))
            except Exception:
                session.info["hidden"] = True

    empty(engine)
    outcomes = run(GroupCommit(sessions, process, batch_size=9, commit_interval_seconds=9, stop=StopSignal()), 3)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.DONE] * 3
    assert sorted(row_notes(engine)) == ["1-0", "2-0", "3-0"]


def test_a_stop_commits_what_ran_and_leaves_the_rest(engine: Engine, sessions: "sessionmaker[DbSession]") -> None:
    stop = StopSignal()

    def process(session: DbSession, entry: Entry) -> None:
        session.add(Plain(note=entry.id))
        if entry.id == "3-0":
            stop.set()

    empty(engine)
    outcomes = run(GroupCommit(sessions, process, batch_size=9, commit_interval_seconds=9, stop=stop), 5)
    assert [outcome.entry.id for outcome in outcomes] == ["1-0", "2-0", "3-0"]
    assert sorted(row_notes(engine)) == ["1-0", "2-0", "3-0"]


def test_nothing_of_a_batch_is_kept_once_it_is_done(engine: Engine, sessions: "sessionmaker[DbSession]") -> None:
    for _ in range(3):
        in_groups(engine, sessions, [["add_plain"], ["count"], ["add_null"], ["commit"]], 100)
    gc.collect()
    left = [one for one in gc.get_objects() if type(one) in (DbSession, Plain, Entry)]
    assert left == []


def one_by_one(engine: Engine, batch: Records) -> World:
    """The plainest way: a session and a transaction for each record."""
    empty(engine)
    verdicts = []
    for number, steps in enumerate(batch, 1):
        entry = Entry("q", "s", f"{number}-0", {})
        with Session(engine) as session:
            try:
                run_steps(session, steps)
                lost = is_aborted(session)  # then COMMIT would roll back and say nothing
                end(session)
                verdicts.append((number, Verdict.FAILED if lost else Verdict.DONE, ""))
            except Exception as error:
                session.rollback()
                verdicts.append((number, outcome_of(entry, error).verdict, ""))
    return World(rows(engine), verdicts)


def in_groups(
    engine: Engine, sessions: "sessionmaker[DbSession]", batch: Records, batch_size: int, at_once: int = 0
) -> World:
    """The way under test; with `at_once`, so many records at a time, which run while those before them commit."""
    empty(engine)
    commit = GroupCommit(
        sessions,
        lambda session, entry: run_steps(session, batch[int(entry.id.partition("-")[0]) - 1]),
        batch_size=batch_size,
        commit_interval_seconds=60,
        stop=NEVER,
        overlap=at_once > 0,
    )
    outcomes = run(commit, len(batch), at_once)
    return World(rows(engine), [(int(one.entry.id.partition("-")[0]), one.verdict, "") for one in outcomes])


def run(commit: GroupCommit, count: int, at_once: int = 0) -> list[Outcome]:
    entries = [Entry("q", "s", f"{number}-0", {}) for number in range(1, count + 1)]
    return run_entries(commit, entries, at_once)


def run_entries(commit: GroupCommit, entries: Sequence[Entry], at_once: int = 0) -> list[Outcome]:
    outcomes: list[Outcome] = []
    step = at_once or max(1, len(entries))
    for start in range(0, len(entries), step):
        for some in commit.run(entries[start : start + step]):
            outcomes += some
    for some in commit.finish():
        outcomes += some
    return outcomes


def empty(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE item, plain, owner RESTART IDENTITY"))
        connection.execute(insert(Owner).values(id=1, hits=0))


def rows(engine: Engine) -> list[object]:
    """All rows without their generated ids, which skip numbers as transactions are rolled back."""
    with engine.connect() as connection:
        return [
            connection.execute(select(Owner.id, Owner.hits).order_by(Owner.id)).all(),
            connection.execute(select(Item.note, Item.code, Item.late, Item.owner_id).order_by(Item.id)).all(),
            connection.execute(select(Plain.note, Plain.code).order_by(Plain.id)).all(),
        ]


def row_notes(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(select(Plain.note)))


def end(session: Session) -> None:
    """Commit; what the handler has seen refused, and returned all the same, is rolled back: it is in already."""
    try:
        session.commit()
    except PendingRollbackError as error:
        if "Violation)" not in str(error):
            raise
        session.rollback()


def is_aborted(session: Session) -> bool:
    if not session.in_transaction() or not session.is_active:
        return False
    driver = session.connection().connection.dbapi_connection
    return bool(driver.info.transaction_status == psycopg.pq.TransactionStatus.INERROR)  # type: ignore[union-attr]  # psycopg's


def count_transactions(sessions: "sessionmaker[DbSession]") -> Callable[[], int]:
    begun: list[int] = []
    event.listen(sessions.kw["bind"], "begin", lambda _: begun.append(1))
    return lambda: len(begun)
