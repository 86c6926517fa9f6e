"""A batch in one transaction is what one transaction per record would have been."""

import gc
import os
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, Table, create_engine, event, text
from sqlalchemy.orm import Session

from streamfea.core.entry import Entry
from streamfea.database.session.session import DbSession, Sessions, open_sessions
from streamfea.worker.policy import Verdict
from streamfea.worker.stop_signal import StopSignal
from tests.support.entries import entries, group_commit, number_of, run_entries
from tests.support.plain_loop import one_by_one
from tests.support.steps import STEPS, TABLES, Plain, Records, run_steps
from tests.support.worlds import World, empty_tables, row_notes, world_of

_EXAMPLES = int(os.environ.get("STREAMFEA_TEST_EXAMPLES", "150"))


@pytest.fixture
def tables() -> Sequence[Table]:
    return TABLES


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
    engine: Engine, sessions: Sessions, batch: Records, batch_size: int, at_once: int
) -> None:
    expected = alone(engine, batch)
    assert in_groups(engine, sessions, batch, batch_size, at_once) == expected


def test_clean_records_share_one_transaction(engine: Engine, sessions: Sessions) -> None:
    in_groups(engine, sessions, [["add_plain"]] * 100, 500)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(DISTINCT xmin::text) FROM plain")).scalar_one() == 1


def test_a_culprit_among_many_is_found_with_few_transactions(engine: Engine, sessions: Sessions) -> None:
    transactions = count_transactions(sessions)
    world = in_groups(engine, sessions, [*[["add_plain"]] * 250, ["add_null"], *[["add_plain"]] * 249], 500)
    assert [verdict for _, verdict in world.verdicts].count(Verdict.FAILED) == 1
    assert transactions() <= 4


def test_a_culprit_whose_flush_fails_costs_few_transactions(engine: Engine, database_url: str) -> None:
    own = create_engine(database_url)
    sessions = open_sessions(own, bulk=False)
    transactions = count_transactions(sessions)
    batch = [*[["add_plain"]] * 20, ["add_taken"], ["add_taken"], *[["add_plain"]] * 20]
    assert [verdict for _, verdict in in_groups(engine, sessions, batch, 500).verdicts].count(Verdict.FAILED) == 1
    own.dispose()
    assert transactions() <= 4


def test_a_handler_that_keeps_committing_gets_a_transaction_for_each_record(engine: Engine, sessions: Sessions) -> None:
    transactions = count_transactions(sessions)
    in_groups(engine, sessions, [["add_plain", "commit"]] * 20, 100)
    # Two for each record, the handler's and the one after it, and a few until the habit is known.
    assert transactions() <= 20 * 2 + 6


def test_a_conflict_is_nobodys_fault(engine: Engine, sessions: Sessions) -> None:
    seen: list[str] = []

    def process(session: DbSession, entry: Entry) -> None:
        seen.append(entry.id)
        session.add(Plain(note=entry.id))
        if seen.count("3-0") == 1 and entry.id == "3-0":
            session.execute(text("DO $$ BEGIN RAISE 'conflict' USING ERRCODE = '40001'; END $$"))

    empty_tables(engine)
    outcomes = run_entries(group_commit(sessions, process), entries(*range(1, 6)))
    assert [outcome.verdict for outcome in outcomes] == [Verdict.DONE] * 5
    assert sorted(row_notes(engine)) == ["1-0", "2-0", "3-0", "4-0", "5-0"]


def test_a_connection_that_dies_in_the_middle_of_a_batch_costs_nothing(engine: Engine, sessions: Sessions) -> None:
    killed: list[int] = []

    def process(session: DbSession, entry: Entry) -> None:
        session.add(Plain(note=entry.id))
        if entry.id == "3-0" and not killed:
            killed.append(session.execute(text("SELECT pg_backend_pid()")).scalar_one())
            with engine.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": killed[0]})

    empty_tables(engine)
    outcomes = run_entries(group_commit(sessions, process), entries(*range(1, 6)))
    assert [outcome.verdict for outcome in outcomes] == [Verdict.DONE] * 5
    assert sorted(row_notes(engine)) == ["1-0", "2-0", "3-0", "4-0", "5-0"]


def test_a_handler_that_hides_the_death_of_its_connection_is_run_again(engine: Engine, sessions: Sessions) -> None:
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

    empty_tables(engine)
    outcomes = run_entries(group_commit(sessions, process), entries(*range(1, 4)))
    assert [outcome.verdict for outcome in outcomes] == [Verdict.DONE] * 3
    assert sorted(row_notes(engine)) == ["1-0", "2-0", "3-0"]


def test_a_stop_commits_what_ran_and_leaves_the_rest(engine: Engine, sessions: Sessions) -> None:
    stop = StopSignal()

    def process(session: DbSession, entry: Entry) -> None:
        session.add(Plain(note=entry.id))
        if entry.id == "3-0":
            stop.set()

    empty_tables(engine)
    outcomes = run_entries(group_commit(sessions, process, stop=stop), entries(*range(1, 6)))
    assert [outcome.entry.id for outcome in outcomes] == ["1-0", "2-0", "3-0"]
    assert sorted(row_notes(engine)) == ["1-0", "2-0", "3-0"]


def test_nothing_of_a_batch_is_kept_once_it_is_done(engine: Engine, sessions: Sessions) -> None:
    for _ in range(3):
        in_groups(engine, sessions, [["add_plain"], ["count"], ["add_null"], ["commit"]], 100)
    gc.collect()
    left = [one for one in gc.get_objects() if type(one) in (DbSession, Plain, Entry)]
    assert left == []


def alone(engine: Engine, batch: Records) -> World:
    """The plainest way: a session and a transaction for each record."""
    empty_tables(engine)
    outcomes = one_by_one(
        lambda: Session(engine),
        lambda session, entry: run_steps(session, batch[number_of(entry) - 1]),
        entries(*range(1, len(batch) + 1)),
    )
    return world_of(engine, outcomes)


def in_groups(engine: Engine, sessions: Sessions, batch: Records, batch_size: int, at_once: int = 0) -> World:
    """The way under test; with `at_once`, so many records at a time, which run while those before them commit."""
    empty_tables(engine)
    commit = group_commit(
        sessions,
        lambda session, entry: run_steps(session, batch[number_of(entry) - 1]),
        batch_size=batch_size,
        overlap=at_once > 0,
    )
    return world_of(engine, run_entries(commit, entries(*range(1, len(batch) + 1)), at_once))


def count_transactions(sessions: Sessions) -> Callable[[], int]:
    begun: list[int] = []
    event.listen(sessions.engine, "begin", lambda _: begun.append(1))
    return lambda: len(begun)
