"""Counters and histograms in memory that processes share."""

import multiprocessing
import time

import pytest

from streamfea.observe import events
from streamfea.observe.events import Failure
from streamfea.observe.figures import COUNTERS, Figures, Row

_fork = multiprocessing.get_context("fork")


def row() -> Row:
    return Figures([("q", 600.0)]).rows[0]


def committed(*ids: str, retried: bool = False, committed_at: float = 0.0, failed: int = 0) -> events.BatchCommitted:
    return events.BatchCommitted(
        "q",
        ids,
        duplicates=2,
        failed=failed,
        rejected=1,
        retried=retried,
        committed_at=committed_at,
        run_seconds=0.2,
        write_seconds=0.003,
        commit_seconds=1000.0,
        settle_seconds=0.0001,
    )


def test_a_batch_is_counted_by_what_became_of_its_records() -> None:
    figures = row()
    figures.observer()(committed("1-0", "2-0", failed=3))
    figures.observer()(committed("3-0", retried=True))
    totals = {counter.name: figures.total(counter.name) for counter in COUNTERS if not counter.label}
    assert totals == {
        "records_done": 3,
        "records_duplicate": 4,
        "records_failed": 3,
        "records_rejected": 2,
        "records_retried": 4,
        "records_reclaimed": 0,
        "worker_starts": 0,
        "worker_crashes": 0,
    }


def test_an_observation_is_in_the_first_bucket_that_is_large_enough() -> None:
    figures = row()
    figures.observer()(committed("1-0"))
    handler, total = figures.distribution("handler_seconds")
    assert (handler.index(1), sum(handler), total) == (10, 1, 0.2), "at most 0.25 s"
    acknowledging, _ = figures.distribution("acknowledge_seconds")
    assert acknowledging[0] == 1, "a bound is in its bucket"
    committing, total = figures.distribution("commit_seconds")
    assert (committing[-1], total) == (1, 1000.0), "larger than all bounds"


def test_latency_is_from_the_time_in_the_id_to_the_commit() -> None:
    figures = row()
    ids = ["1795734312000-0", "1795734312000-1", "1795734311500-0", "5-1", "1795734399999-0"]
    figures.observer()(committed(*ids, committed_at=1795734312.2))
    buckets, total = figures.distribution("latency_seconds")
    assert total == pytest.approx(0.2 + 0.2 + 0.7), "5-1 is no time, and what comes from the future has no latency"
    assert sum(buckets) == 4


def test_dead_letters_are_counted_by_reason_and_claims_by_who_left_them() -> None:
    figures, failure = row(), Failure("1-0", "E", "E: no", "", "timeout")
    figures.observer()(events.RecordsBuried("q", [failure, failure]))
    figures.observer()(events.EntriesClaimed("q", 5, 3, ["c"]))
    assert (figures.total("dead_letters", "timeout"), figures.total("dead_letters", "failed")) == (2, 0)
    assert figures.total("records_reclaimed") == 2


def test_only_a_wait_that_is_no_idleness_is_a_wait_for_redis() -> None:
    figures = row()
    for event in (events.EntriesRead("q", 3, 0.01), events.EntriesRead("q", 1, None), events.EntriesRead("q", 0, 0.2)):
        figures.observer()(event)
    assert figures.distribution("redis_wait_seconds")[1] == 0.01


def test_a_wait_for_a_server_counts_while_it_lasts_and_whoever_waited_may_die() -> None:
    figures = row()
    figures.observer()(events.OutageBegan("q", "PostgreSQL", "gone"))
    assert figures.total("outages", "PostgreSQL") == 1
    before = figures.total("outage_seconds", "PostgreSQL")
    figures.ends(crashed=True, wanted=True)
    assert figures.waiting_seconds("PostgreSQL") == 0
    assert figures.total("outage_seconds", "PostgreSQL") >= before > 0
    assert figures.total("worker_crashes") == 1


def test_another_process_goes_on_counting_in_the_same_place() -> None:
    figures = row()

    def count() -> None:
        figures.starts(1)
        figures.observer()(committed("1-0"))

    for _ in range(2):
        process = _fork.Process(target=count)
        process.start()
        process.join()
    assert (figures.total("worker_starts"), figures.total("records_done")) == (2, 2)


def test_places_do_not_disturb_each_other() -> None:
    figures = Figures([("a", 1.0), ("b", 1.0), ("a", 1.0)])
    for place in figures.rows:
        place.observer()(committed("1-0"))
    assert [place.total("records_done") for place in figures.rows] == [1, 1, 1]
    assert {queue: len(rows) for queue, rows in figures.by_queue().items()} == {"a": 2, "b": 1}


def test_every_event_is_a_move() -> None:
    figures = row()
    figures._set("moved_at", time.monotonic() - 100)
    assert figures.still_seconds() >= 100
    figures.observer()(events.EntriesRead("q", 0, None))
    assert figures.still_seconds() < 1
