"""The effects of an entry are in the database once, whatever is delivered again."""

import os
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, Table, text
from sqlalchemy.orm import Session

from streamfea.core.entry import Entry
from streamfea.core.group_ref import GroupRef
from streamfea.database.exactly_once.ledger import LEDGER_TABLES, Ledger
from streamfea.database.session.session import DbSession, Sessions
from streamfea.errors import ConfigurationError
from streamfea.worker.policy import Outcome, Verdict, outcome_of
from streamfea.worker.slices import Spent
from streamfea.worker.stop_signal import StopSignal
from tests.support.entries import entries, entry, group_commit, number_of, run_entries, submitted, verdicts
from tests.support.plain_loop import commit_plainly, is_aborted
from tests.support.steps import STEPS, TABLES, Plain, Records, run_steps
from tests.support.waiting import wait_until
from tests.support.worlds import World, empty_tables, row_notes, world_of

_EXAMPLES = int(os.environ.get("STREAMFEA_TEST_EXAMPLES", "100"))

# These ask for what the reference cannot do: it looks at deferred constraints at its end only.
_DEFERRED = {"add_late"}
_ENDS = {"commit", "swallow_commit", "swallow_commit_and_roll_back"}
# Not allowed here: see the test of that.
_BY_CONNECTION = {"commit_connection", "swallow_commit_connection", "roll_back_connection"}

once_each = partial(group_commit, ledger=Ledger(GroupRef("s", "g")))


@pytest.fixture
def tables() -> Sequence[Table]:
    return (*TABLES, *LEDGER_TABLES)


@settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    batch=st.lists(
        st.lists(st.sampled_from(sorted(STEPS.keys() - _BY_CONNECTION)), min_size=1, max_size=4), max_size=8
    ),
    batch_size=st.sampled_from([1, 2, 3, 100]),
    again=st.lists(st.integers(0, 7), max_size=4),
    at_once=st.sampled_from([0, 1, 2, 3]),
)
@example(batch=[["add_plain", "commit", "fail"], ["count"]], batch_size=100, again=[0], at_once=0)
@example(batch=[["hit", "commit", "hit", "roll_back"], ["count"]], batch_size=100, again=[0, 1], at_once=0)
@example(batch=[["add_plain"], ["fail"], ["count"]], batch_size=100, again=[0, 1], at_once=1)
@example(batch=[["swallow_flush_and_roll_back"], ["swallow_savepoint"]], batch_size=1, again=[], at_once=0)
@example(batch=[["add"]] * 4 + [["add_null"], ["roll_back_savepoint"]], batch_size=2, again=[], at_once=0)
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # what careless handlers do is warned of, rightly
def test_each_record_is_all_in_or_not_at_all_and_never_twice(
    engine: Engine,
    sessions: Sessions,
    batch: Records,
    batch_size: int,
    again: list[int],
    at_once: int,
) -> None:
    assume(not any(_DEFERRED & set(steps) and _ENDS & set(steps) for steps in batch))
    expected = enclosed_one_by_one(engine, batch)
    start(engine)
    outcomes = run(sessions, batch, entries(*range(1, len(batch) + 1)), batch_size, at_once)
    assert world_of(engine, outcomes) == expected
    done = [one.entry for one in outcomes if one.verdict is Verdict.DONE]
    assert noted(engine) == sorted(number_of(one) for one in done)

    redelivered = [done[index] for index in sorted(set(again)) if index < len(done)]
    assert set(verdicts(run(sessions, batch, redelivered, batch_size, at_once))) <= {Verdict.DUPLICATE}
    assert world_of(engine, outcomes) == expected


@pytest.mark.core
def test_a_batch_that_is_delivered_again_is_done_once(engine: Engine, sessions: Sessions) -> None:
    start(engine)
    five = entries(*range(1, 6))
    assert verdicts(run_adding(sessions, five[:3])) == [Verdict.DONE] * 3
    assert verdicts(run_adding(sessions, five)) == [Verdict.DUPLICATE] * 3 + [Verdict.DONE] * 2
    assert verdicts(run_adding(sessions, five, alone=True)) == [Verdict.DUPLICATE] * 5
    assert row_notes(engine) == ["1-0", "2-0", "3-0", "4-0", "5-0"]


def test_what_was_done_before_stays_done_when_a_batch_is_cut_short(engine: Engine, sessions: Sessions) -> None:
    start(engine)
    five = entries(*range(1, 6))
    assert verdicts(run_adding(sessions, five[:4])) == [Verdict.DONE] * 4

    def query_and_add(session: DbSession, one: Entry) -> None:
        session.execute(text("SELECT 1"))
        session.add(Plain(note=one.id))

    stop, settled = StopSignal(), list[Outcome]()

    def settle_once(outcomes: list[Outcome], _: Spent) -> None:
        settled.extend(outcomes)
        stop.set()

    shortest = once_each(sessions, query_and_add, commit_interval_seconds=0, stop=stop)
    shortest.submit(five, settle_once)
    assert verdicts(settled) == [Verdict.DUPLICATE]  # so much time, and no more
    assert noted(engine) == [1, 2, 3, 4]
    assert verdicts(run_adding(sessions, five)) == [Verdict.DUPLICATE] * 4 + [Verdict.DONE]
    assert row_notes(engine) == ["1-0", "2-0", "3-0", "4-0", "5-0"]


def test_a_whole_batch_that_is_delivered_again_is_done_once(engine: Engine, sessions: Sessions) -> None:
    start(engine)
    five = entries(*range(1, 6))

    def all_at_once(session: DbSession, some: list[str]) -> None:
        session.add_all(Plain(note=one) for one in some)
        session.commit()

    assert verdicts(run_adding(sessions, five[:3], all_at_once)) == [Verdict.DONE] * 3
    again = verdicts(run_adding(sessions, five, all_at_once))
    assert again == [Verdict.DUPLICATE] * 3 + [Verdict.DONE] * 2
    assert row_notes(engine) == ["1-0", "2-0", "3-0", "4-0", "5-0"]


def test_of_two_workers_with_the_same_entry_the_second_waits_and_does_nothing(
    engine: Engine, sessions: Sessions
) -> None:
    start(engine)
    go_on, outcomes = threading.Event(), list[Outcome]()

    def slowly(session: DbSession, one: Entry) -> None:
        session.add(Plain(note=one.id))
        go_on.wait(20)

    first = threading.Thread(target=lambda: outcomes.extend(run_entries(once_each(sessions, slowly), [entry(1)])))
    first.start()
    wait_until(lambda: entered(engine), "the first has entered the entry")
    second = threading.Thread(target=lambda: outcomes.extend(run_adding(sessions, [entry(1)])))
    second.start()
    wait_until(lambda: waiting(engine), "the second waits for the first")
    go_on.set()
    first.join(20)
    second.join(20)
    assert verdicts(outcomes) == [Verdict.DONE, Verdict.DUPLICATE]
    assert row_notes(engine) == ["1-0"]


def test_a_row_that_is_there_because_its_entry_is_in_already_fails_nobody(engine: Engine, sessions: Sessions) -> None:
    start(engine)

    def process(session: DbSession, one: Entry) -> None:
        session.add(Plain(note=one.id, code=number_of(one)))

    commit = once_each(sessions, process, overlap=True)
    done, again = entries(1, 2), entries(1, 2, 3)
    assert verdicts(run_entries(commit, done, 1)) == [Verdict.DONE] * 2
    assert verdicts(run_entries(commit, again, 3)) == [Verdict.DUPLICATE, Verdict.DUPLICATE, Verdict.DONE]
    assert row_notes(engine) == ["1-0", "2-0", "3-0"]
    assert noted(engine) == [1, 2, 3]


def test_a_row_that_cannot_be_written_fails_its_own_record_and_leaves_it_out_of_the_ledger(
    engine: Engine, sessions: Sessions
) -> None:
    start(engine)

    def process(session: DbSession, one: Entry) -> None:
        session.add(Plain(note=one.id, code=1 if number_of(one) in (1, 3) else None))

    commit = once_each(sessions, process, overlap=True)
    run_entries(commit, [entry(9)])  # from then on it is known how the model's objects are written
    outcomes = run_entries(commit, entries(*range(1, 5)))
    assert verdicts(outcomes) == [Verdict.DONE, Verdict.DONE, Verdict.FAILED, Verdict.DONE]
    assert row_notes(engine) == ["9-0", "1-0", "2-0", "4-0"]
    assert noted(engine) == [1, 2, 4, 9]


def test_a_row_that_meets_that_of_the_same_entry_in_another_worker_fails_nobody(
    engine: Engine, sessions: Sessions
) -> None:
    start(engine)
    commit = once_each(
        sessions, lambda session, one: session.add(Plain(note=one.id, code=number_of(one))), overlap=True
    )
    run_entries(commit, [entry(9)])
    outcomes: list[Outcome] = []
    with Session(engine) as other:
        other.add(Plain(note="other", code=5))
        other.flush()
        assert Ledger(GroupRef("s", "g")).enter(other, ["5-0"]) == set()
        second = threading.Thread(target=lambda: outcomes.extend(run_entries(commit, [entry(5)])))
        second.start()
        wait_until(lambda: waiting(engine, "COPY"), "its row waits for the other")
        other.commit()
    second.join(20)
    assert verdicts(outcomes) == [Verdict.DUPLICATE]
    assert row_notes(engine) == ["9-0", "other"]


@pytest.mark.parametrize("how", sorted(_BY_CONNECTION))
def test_a_handler_that_ends_the_transaction_by_its_connection_fails(
    engine: Engine, sessions: Sessions, how: str
) -> None:
    start(engine)
    outcomes = run(sessions, [["add_plain"], ["insert_by_hand", how], ["add_plain"]], entries(1, 2, 3), 9)
    assert verdicts(outcomes) == [Verdict.DONE, Verdict.FAILED, Verdict.DONE]
    assert (row_notes(engine), noted(engine)) == (["added", "added"], [1, 3])


def test_without_the_ledgers_tables_the_operator_is_told(engine: Engine, sessions: Sessions) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE streamfea_ledger"))
    with pytest.raises(ConfigurationError, match="streamfea initdb"):
        run_adding(sessions, [entry(1)])


def test_what_is_gone_from_the_stream_is_pruned_and_what_could_come_back_is_not(engine: Engine) -> None:
    ledger = Ledger(GroupRef("s", "g"))
    other = Ledger(GroupRef("s", "other"))
    ids = ["1-0", "2-0", "2-1", "3-0", f"{2**64 - 1}-{2**64 - 1}"]
    with Session(engine) as session:
        assert ledger.enter(session, ids) == set()
        assert other.enter(session, ids) == set()
        assert ledger.enter(session, ids) == set(ids)
        session.commit()

    def prune(first_id: str, margin: timedelta, limit: int = 100) -> int:
        with engine.begin() as connection:
            return ledger.prune(connection, first_id, margin, limit)

    hour, nothing = timedelta(hours=1), timedelta(0)
    assert prune("2-1", hour) == 0  # noted
    assert prune("3-0", hour) == 0  # not long enough ago
    assert prune("9-0", nothing, limit=1) == 1  # what was before 2-1, a slice at a time
    assert prune("9-0", nothing, limit=1) == 1
    assert prune("9-0", nothing, limit=1) == 0
    assert prune("9-0", hour) == 0
    with Session(engine) as session:
        assert ledger.enter(session, ids) == {"2-1", "3-0", ids[-1]}
        assert other.enter(session, ids) == set(ids)


def test_what_a_transaction_was_told_before_is_still_so_when_entries_were_in_already(engine: Engine) -> None:
    ledger = Ledger(GroupRef("s", "g"))
    with Session(engine) as session:
        ledger.enter(session, ["1-0"])
        session.commit()
        session.execute(text("SET LOCAL statement_timeout = '7s'"))

        assert ledger.enter(session, ["0-1", "1-0", "2-0"]) == {"1-0"}
        assert session.execute(text("SHOW statement_timeout")).scalar_one() == "7s"


def enclosed_one_by_one(engine: Engine, batch: Records) -> World:
    """The plainest way: a transaction for each record, in which the session's commits are savepoints."""
    empty_tables(engine)
    outcomes = []
    for number, steps in enumerate(batch, 1):
        with engine.connect() as connection:
            outcomes.append(enclosed(connection, entry(number), steps))
    return world_of(engine, outcomes)


def enclosed(connection: Connection, one: Entry, steps: list[str]) -> Outcome:
    transaction = connection.begin()
    # SQLAlchemy manual, "Joining a Session into an External Transaction"
    with Session(connection, join_transaction_mode="create_savepoint") as session:
        try:
            run_steps(session, steps)
            lost = is_aborted(session)
            commit_plainly(session)
        except Exception as error:
            session.rollback()
            transaction.rollback()
            return outcome_of(one, error)
    try:
        transaction.rollback() if lost else transaction.commit()
    except Exception:
        return Outcome(one, Verdict.FAILED)
    return Outcome(one, Verdict.FAILED if lost else Verdict.DONE)


def start(engine: Engine) -> None:
    empty_tables(engine)
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE streamfea_ledger"))


def noted(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT ms FROM streamfea_ledger ORDER BY ms")))


def entered(engine: Engine) -> bool:
    """Whether a transaction that is under way has written to the ledger."""
    query = text("SELECT count(*) FROM pg_locks WHERE relation = CAST('streamfea_ledger' AS regclass) AND mode = :mode")
    with engine.connect() as connection:
        return bool(connection.execute(query, {"mode": "RowExclusiveLock"}).scalar_one())


def waiting(engine: Engine, statement: str = "streamfea_ledger") -> bool:
    """Whether a transaction waits, in a statement that holds this, for another one that has written the same row."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE wait_event = 'transactionid' AND query LIKE concat('%', CAST(:statement AS text), '%')"
    )
    with engine.connect() as connection:
        return bool(connection.execute(query, {"statement": statement}).scalar_one())


def run(
    sessions: Sessions, batch: Records, entries: Sequence[Entry], batch_size: int, at_once: int = 0
) -> list[Outcome]:
    commit = once_each(
        sessions,
        lambda session, one: run_steps(session, batch[number_of(one) - 1]),
        batch_size=batch_size,
        overlap=at_once > 0,
    )
    return run_entries(commit, entries, at_once)


def run_adding(
    sessions: Sessions,
    entries: Sequence[Entry],
    process_batch: Callable[[DbSession, list[str]], None] | None = None,
    *,
    alone: bool = False,
) -> list[Outcome]:
    commit = once_each(sessions, lambda session, one: session.add(Plain(note=one.id)), process_batch)
    return [outcome for outcomes in submitted(commit, entries, alone=alone) for outcome in outcomes]
