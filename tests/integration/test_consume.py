"""Records that go well, and records that do not, through the installed command."""

import json
import re
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import NullPool, create_engine, text

from streamfea.streams.connection.keys import janitor_key
from tests.support.commands import Consumer, Project
from tests.support.queues import ref_of
from tests.support.streams import add, letters, nothing_is_left, times_delivered
from tests.support.waiting import wait_until

Rows = Callable[[], list[int]]


def test_every_record_becomes_a_row_and_is_acknowledged(project: Project, client: Redis, rows: Rows) -> None:
    add(client, project, *({"n": number} for number in range(1000)))
    project.run("consume", "--until-empty")
    assert rows() == list(range(1000))
    assert nothing_is_left(client, project)
    assert client.xinfo_consumers(project.stream, "streamfea") == []


def test_the_log_of_an_undisturbed_run_tells_when_it_began_and_ended(project: Project, client: Redis) -> None:
    add(client, project, {"n": 1})
    with project.consuming("--until-empty") as consumer:
        assert consumer.process.wait(30) == 0
    assert re.findall(r"\[info *\] (\S+)", consumer.log()) == ["consuming", "stopped"]
    assert len(consumer.log().splitlines()) == 2


# Told for every file that Python code opens to write, in the supervisor and in what it forks.
_TELL_WRITES = """
import os, sys
sys.dont_write_bytecode = True
def tell(event, arguments):
    if event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
        os.write(2, f"opened to write: {arguments[0]}\\n".encode())
sys.addaudithook(tell)
"""


def test_nothing_is_written_to_files(project: Project, client: Redis, rows: Rows) -> None:
    project.configure(max_deliveries=1)
    add(client, project, {"n": 1}, {"n": 2, "do": "fail"}, {"n": 3, "do": "exit"}, {"n": 4})
    with project.consuming("--until-empty", prelude=_TELL_WRITES) as consumer:
        assert consumer.process.wait(60) == 0
    assert sorted(rows()) == [1, 4]
    assert "opened to write" not in consumer.log(), "not even in /dev/shm, which may be missing or read-only"


@pytest.mark.core
def test_a_failing_record_is_tried_and_then_buried_with_its_provenance(
    project: Project, client: Redis, rows: Rows
) -> None:
    project.configure(max_deliveries=3, backoff="100ms")
    client.xadd(project.stream, {"record": json.dumps({"n": 1, "do": "fail"}), "from": "sensor 7"})
    add(client, project, {"n": 2})
    project.run("consume", "--until-empty")
    assert rows() == [2]
    [letter] = letters(client, project)
    assert letter["from"] == "sensor 7"
    assert json.loads(letter["record"]) == {"n": 1, "do": "fail"}
    assert letter["streamfea-reason"] == "failed"
    assert letter["streamfea-deliveries"] == "3"
    assert letter["streamfea-error-type"] == "ValueError"
    assert letter["streamfea-error"] == "asked to fail"
    assert "asked to fail" in letter["streamfea-traceback"]
    assert letter["streamfea-queue"] == "q"
    assert nothing_is_left(client, project)


def test_tries_are_counted_on_the_server_and_survive_restarts(project: Project, client: Redis) -> None:
    project.configure(max_deliveries=3, backoff="100ms")
    add(client, project, {"n": 1, "do": "fail"})
    for deliveries in (1, 2):
        with project.consuming() as consumer:
            wait_until(lambda least=deliveries: times_delivered(client, project) >= least, "it was delivered")  # type: ignore[misc]  # bound at once
            consumer.terminate()
    project.run("consume", "--until-empty")
    [letter] = letters(client, project)
    assert letter["streamfea-deliveries"] == "3"


def test_a_rejected_record_is_buried_at_once(project: Project, client: Redis, rows: Rows) -> None:
    add(client, project, {"n": 1, "do": "reject"}, {"n": 2})
    project.run("consume", "--until-empty")
    [letter] = letters(client, project)
    assert (letter["streamfea-reason"], letter["streamfea-deliveries"]) == ("rejected", "1")
    assert rows() == [2]


def test_a_record_that_asks_for_later_waits_as_long_as_it_asked(project: Project, client: Redis) -> None:
    project.configure(max_deliveries=2)
    add(client, project, {"n": 1, "do": "retry", "delay": "1s"})
    project.run("consume", "--until-empty")
    [letter] = letters(client, project)
    assert (letter["streamfea-reason"], letter["streamfea-error-type"]) == ("failed", "Retry")


def test_an_entry_without_the_field_is_a_dead_letter(project: Project, client: Redis, rows: Rows) -> None:
    client.xadd(project.stream, {"rekord": "{}"})
    add(client, project, {"n": 2})
    project.run("consume", "--until-empty")
    [letter] = letters(client, project)
    assert letter["streamfea-reason"] == "no-record"
    assert "rekord" in letter["streamfea-error"]
    assert rows() == [2]


def test_all_fields_can_be_the_record(project: Project, client: Redis, rows: Rows) -> None:
    project.configure(field="*")
    client.xadd(project.stream, {"n": "7", "other": "text"})
    project.run("consume", "--until-empty")
    assert rows() == [7]


def test_sigterm_commits_what_runs_and_hands_over_the_rest(project: Project, client: Redis, rows: Rows) -> None:
    project.configure(claim_idle="1h", commit_interval="10s")
    add(client, project, {"n": 0, "do": "slow", "seconds": 1}, *({"n": number} for number in range(1, 10)))
    with project.consuming() as consumer:
        wait_until(lambda: times_delivered(client, project) == 1, "the batch was read")
        assert consumer.terminate() == 0
    assert rows() == [0]
    project.run("consume", "--until-empty")
    assert sorted(rows()) == list(range(10))


def test_sigterm_reaches_a_worker_that_has_just_been_forked(project: Project, client: Redis) -> None:
    slow_start = "import os, time; os.register_at_fork(after_in_child=lambda: time.sleep(1))"
    with project.consuming("--workers", "2", prelude=slow_start) as consumer:
        wait_until(lambda: client.exists(project.stream), "the preflight is over")
        wait_until(lambda: len(consumer.workers()) == 2, "the workers are forked")
        assert consumer.terminate(10) == 0


def test_a_second_signal_stops_at_once(project: Project, client: Redis) -> None:
    add(client, project, {"n": 0, "do": "hang"})
    with project.consuming() as consumer:
        wait_until(lambda: times_delivered(client, project) == 1, "the record was delivered")
        consumer.process.send_signal(signal.SIGINT)
        consumer.process.send_signal(signal.SIGTERM)
        assert consumer.process.wait(10) == 1
    assert "had to be killed" in consumer.log()


def test_a_slow_worker_keeps_what_it_holds(project: Project, client: Redis, rows: Rows) -> None:
    project.configure(claim_idle="500ms")
    add(client, project, {"n": 0, "do": "slow", "seconds": 2.5})
    with project.consuming("--workers", "2") as consumer:
        wait_until(lambda: rows() == [0], "the record was committed")
        wait_until(lambda: nothing_is_left(client, project), "it was acknowledged")
        assert consumer.terminate() == 0
    assert rows() == [0]


def test_in_this_process_for_a_debugger(project: Project, client: Redis, rows: Rows) -> None:
    add(client, project, {"n": 1})
    project.run("consume", "q", "--workers", "0", "--until-empty")
    assert rows() == [1]


def test_exactly_once_does_what_is_delivered_again_only_once(project: Project, client: Redis, rows: Rows) -> None:
    project.configure(guarantee="exactly-once", retention="keep")
    assert "streamfea_ledger" in project.run("consume", "--until-empty", expect=2)
    project.run("initdb")
    add(client, project, *({"n": number} for number in range(20)))
    project.run("consume", "--until-empty")
    client.xgroup_destroy(project.stream, "streamfea")
    assert client.xlen(project.stream) == 20
    project.run("consume", "--until-empty")
    assert rows() == list(range(20))
    assert nothing_is_left(client, project)


def test_exactly_once_does_not_bury_what_died_after_its_commit(project: Project, client: Redis, rows: Rows) -> None:
    project.configure(guarantee="exactly-once", max_deliveries=1)
    project.run("initdb")
    dies_before_acknowledging = (
        "import os; from streamfea.worker.settlement import Settlement as S; S.settle = lambda *_, **__: os._exit(3)"
    )
    with project.consuming(prelude=dies_before_acknowledging) as consumer:
        add(client, project, {"n": 1})
        wait_until(lambda: rows() == [1], "it is committed")
        wait_until(lambda: nothing_is_left(client, project), "it is acknowledged all the same")
        assert consumer.terminate() == 0
    assert rows() == [1]
    assert letters(client, project) == []


def test_the_ledger_is_pruned_of_what_has_long_been_gone_from_the_stream(
    project: Project, client: Redis, database_url: str
) -> None:
    project.configure(guarantee="exactly-once", retention="acked")
    project.run("initdb")
    add(client, project, *({"n": number} for number in range(20)))
    project.run("consume", "--until-empty")
    assert client.xlen(project.stream) == 0
    engine = create_engine(database_url, poolclass=NullPool)

    def ledger(statement: str = "SELECT count(*) FROM streamfea_ledger") -> int:
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            return int(result.scalar_one()) if result.returns_rows else result.rowcount

    def consume_with_a_turn_of_the_janitor() -> None:
        turn = janitor_key(ref_of(project.stream))
        wait_until(lambda: not client.exists(turn), "the turn of the run before has expired")
        project.run("consume", "--until-empty")

    assert ledger("DELETE FROM streamfea_ledger_horizon") == 1
    consume_with_a_turn_of_the_janitor()  # notes how far the stream is
    assert ledger() == 20
    assert ledger("UPDATE streamfea_ledger_horizon SET noted_at = noted_at - interval '1 hour'") == 1
    consume_with_a_turn_of_the_janitor()
    assert ledger() == 0


def test_a_batch_of_long_records_is_small(project: Project, client: Redis, database_url: str) -> None:
    project.configure(batch_bytes=1_000_000)
    add(client, project, *({"n": number, "text": "x" * 100_000} for number in range(50)))
    project.run("consume", "--until-empty", "--create-tables")
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.connect() as connection:
        sizes = list(connection.scalars(text("SELECT count(*) FROM seen GROUP BY xmin")))
    assert sum(sizes) == 50
    assert max(sizes) <= 10


@pytest.mark.timeout(240)
@pytest.mark.parametrize("small", [0, 3_000])
def test_records_as_long_as_can_be_are_in_memory_one_at_a_time(
    project: Project, client: Redis, rows: Rows, small: int
) -> None:
    """Ten of them at once would take ten times their length, and small ones before do not tell of them."""
    add(client, project, *({"n": number} for number in range(small)))
    for number in range(small, small + 30):
        client.xadd(project.stream, {"record": json.dumps({"n": number, "text": "x" * 20 * 2**20})})
    peaks: dict[int, int] = {}
    with project.consuming("--until-empty") as consumer:
        wait_until(lambda: has_ended(consumer, peaks), "all is done", 180)
    assert sorted(rows()) == list(range(small + 30))
    assert max(peaks.values()) < 300 * 2**20
    assert "waiting for" not in consumer.log(), "Redis was never away"


def has_ended(consumer: Consumer, peaks: dict[int, int]) -> bool:
    """Note how much memory each worker has had at most; tell whether all of them are gone."""
    for worker in consumer.workers():
        with suppress(OSError):
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{worker.pid}/status").read_text())
            if found is not None:
                peaks[worker.pid] = int(found[1]) * 1024
    return consumer.process.poll() is not None
