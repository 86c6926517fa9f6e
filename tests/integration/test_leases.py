"""Who is slow keeps its entries, who is stopped loses them, and what the stopped one does later does no harm."""

import json
import signal
from collections.abc import Callable

import psutil
import pytest
from redis import Redis
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import sessionmaker

from streamfea.config.sections import DatabaseSettings, Queue
from streamfea.database.connection.engine import open_database
from streamfea.database.connection.fencing import end_transactions, session_name
from tests.support.commands import Project
from tests.support.streams import add, nothing_is_left, times_delivered
from tests.support.waiting import wait_until

Rows = Callable[[], list[int]]


def test_a_handler_that_blocks_in_c_counts_as_alive(project: Project, client: Redis, rows: Rows) -> None:
    project.configure(claim_idle="600ms")
    add(client, project, {"n": 0, "do": "slow in C", "seconds": 3}, {"n": 1})
    with project.consuming("--workers", "2") as consumer:
        wait_until(lambda: len(rows()) >= 2, "both are committed")
        wait_until(lambda: nothing_is_left(client, project), "both are acknowledged")
        assert consumer.terminate() == 0
    assert sorted(rows()) == [0, 1]  # by the two workers, each of which takes one record to begin with
    assert "renewing for a worker whose handler blocks" in consumer.log()


def test_a_worker_that_blocks_in_c_does_not_outlive_a_killed_supervisor(project: Project, client: Redis) -> None:
    project.configure(claim_idle="600ms", shutdown_timeout="500ms")
    project.run("initdb")
    add(client, project, {"n": 0, "do": "hang in C"})
    with project.consuming() as consumer:
        wait_until(lambda: "renewing for a worker whose handler blocks" in consumer.log(), "it blocks")
        family = consumer.workers()
        consumer.process.kill()
        wait_until(lambda: not any(one.is_running() for one in family), "all have ended")
    assert "a worker without a supervisor does not end: killing it" in consumer.log()


@pytest.mark.parametrize("guarantee", ["exactly-once", "at-least-once"])
def test_what_a_stopped_worker_holds_moves_on_and_what_it_does_later_is_not_doubled(
    project: Project, client: Redis, rows: Rows, database_url: str, guarantee: str
) -> None:
    project.configure(claim_idle="600ms", guarantee=guarantee)
    project.run("initdb")
    slow = {"n": 0, "do": "slow in a transaction", "seconds": 2}
    add(client, project, slow, *({"n": number} for number in range(1, 5)))
    with project.consuming() as stopped:
        wait_until(lambda: times_delivered(client, project) == 1, "the batch is read")
        wait_until(lambda: is_in_transaction(database_url), "it has begun a transaction, and sleeps in it")
        [worker] = stopped.workers()
        worker.send_signal(signal.SIGSTOP)
        with project.consuming() as other:
            wait_until(lambda: sorted(rows()) == list(range(5)), "another worker did what the stopped one held")
            wait_until(lambda: nothing_is_left(client, project), "all is acknowledged")
            worker.send_signal(signal.SIGCONT)
            wait_until(lambda: "others have claimed" in stopped.log(), "the stopped worker notices")
            client.xadd(project.stream, {"record": json.dumps({"n": 5})})
            wait_until(lambda: 5 in rows(), "work goes on")
            assert other.terminate() == 0
        assert stopped.terminate() == 0
    if guarantee == "exactly-once":
        assert sorted(rows()) == list(range(6))


def test_a_namesake_takes_over_what_a_stopped_process_holds(
    project: Project, client: Redis, rows: Rows, database_url: str
) -> None:
    project.configure(guarantee="exactly-once")
    project.run("initdb")
    slow = {"n": 0, "do": "slow in a transaction", "seconds": 2}
    add(client, project, slow, *({"n": number} for number in range(1, 5)))
    with project.consuming("--name", "web") as stopped:
        wait_until(lambda: times_delivered(client, project) == 1, "the batch is read")
        wait_until(lambda: is_in_transaction(database_url), "it has begun a transaction, and sleeps in it")
        frozen = [*stopped.workers(), psutil.Process(stopped.process.pid)]
        for process in frozen:
            process.send_signal(signal.SIGSTOP)
        with project.consuming("--name", "web") as successor:
            wait_until(lambda: sorted(rows()) == list(range(5)), "the successor did what the stopped one held")
            wait_until(lambda: nothing_is_left(client, project), "all is acknowledged")
            for process in frozen:
                process.send_signal(signal.SIGCONT)
            wait_until(lambda: "another process consumes under this name" in stopped.log(), "the stopped one notices")
            assert successor.terminate() == 0
    assert sorted(rows()) == list(range(5))


def test_only_sessions_of_the_same_group_are_ended(database_url: str) -> None:
    here, elsewhere = (Queue(name="q", handler="h", stream=stream) for stream in ("here", "elsewhere"))
    own = open_database(DatabaseSettings(url=database_url), session_name(here.ref, "me"))
    dead = open_database(DatabaseSettings(url=database_url), session_name(here.ref, "web-1"))
    namesake = open_database(DatabaseSettings(url=database_url), session_name(elsewhere.ref, "web-1"))
    try:
        with dead.connect() as its, namesake.connect() as others:
            its.execute(text("SELECT 1"))
            others.execute(text("SELECT 1"))
            assert end_transactions(sessionmaker(own), here.ref, ["web-1", "nobody"]) == 1
            assert others.execute(text("SELECT 2")).scalar_one() == 2
            with pytest.raises(OperationalError):
                its.execute(text("SELECT 2"))
    finally:
        for engine in (own, dead, namesake):
            engine.dispose()


def is_in_transaction(database_url: str) -> bool:
    """Whether a worker has a transaction open in which it does nothing at the moment."""
    query = text(
        "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'streamfea%' AND state = 'idle in transaction'"
    )
    with create_engine(database_url, poolclass=NullPool).connect() as connection:
        return connection.execute(query).first() is not None
