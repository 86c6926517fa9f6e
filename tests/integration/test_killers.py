"""Records that kill their process, or never return: each ends in the dead letters, and costs itself only."""

import json
import re
from collections.abc import Callable

import pytest
from redis import Redis

from streamfea.streams.connection.keys import errors_key
from streamfea.streams.consuming.last_error import LastError
from tests.support.commands import Project
from tests.support.queues import ref_of
from tests.support.streams import add, letters, nothing_is_left
from tests.support.waiting import wait_until

Rows = Callable[[], list[int]]

_REASONS = {
    "exit": "crashed",
    "segfault": "crashed",
    "allocate": "crashed",
    "hang": "timeout",
    "hang in C": "timeout",
}


@pytest.mark.parametrize(("guarantee", "named"), [("at-least-once", []), ("exactly-once", ["--name", "web"])])
def test_records_that_kill_their_worker_are_buried_and_no_others(
    project: Project, client: Redis, rows: Rows, guarantee: str, named: list[str]
) -> None:
    project.configure(max_deliveries=1, backoff="100ms", timeout="1s", guarantee=guarantee)
    project.run("initdb")
    for number, death in enumerate(_REASONS):
        add(client, project, {"n": number}, {"n": 100 + number, "do": death})
    add(client, project, *({"n": number} for number in range(5, 50)))
    with project.consuming(*named) as consumer:
        wait_until(lambda: len(letters(client, project)) == len(_REASONS), "all killers are buried", seconds=60)
        wait_until(lambda: nothing_is_left(client, project), "all others are done")
        client.xadd(project.stream, {"record": json.dumps({"n": 50})})
        wait_until(lambda: 50 in rows(), "work goes on")
        assert consumer.terminate() == 0
    assert sorted(rows()) == list(range(51))
    reasons = {json.loads(one["record"])["do"]: one["streamfea-reason"] for one in letters(client, project)}
    assert reasons == _REASONS
    pauses = re.findall(r"restart_in_seconds=([\d.]+)", consumer.log())
    assert len(pauses) > len(_REASONS)
    assert max(map(float, pauses)) <= 1, "the queue does not wait longer and longer for them"


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_a_statement_that_takes_too_long_is_no_wait_for_postgresql(
    project: Project, client: Redis, guarantee: str
) -> None:
    project.configure("ender", max_deliveries=1, backoff="100ms", timeout="2500ms", guarantee=guarantee)
    project.run("initdb")
    add(client, project, {"n": 0, "do": "take far too long"}, {"n": 1})
    project.run("consume", "--until-empty")
    [letter] = letters(client, project)
    assert (json.loads(letter["record"])["n"], letter["streamfea-reason"]) == (0, "timeout")


@pytest.mark.parametrize(("death", "reason"), [("exit", "crashed"), ("hang", "timeout")])
def test_a_record_that_kills_is_tried_as_often_as_any_other(
    project: Project, client: Redis, rows: Rows, death: str, reason: str
) -> None:
    project.configure(max_deliveries=3, backoff="100ms", timeout="500ms")
    add(client, project, {"n": 0, "do": death}, {"n": 1})
    project.run("consume", "--until-empty")
    [letter] = letters(client, project)
    assert (letter["streamfea-reason"], letter["streamfea-deliveries"]) == (reason, "3")
    assert rows() == [1]


def test_a_note_that_a_record_ran_alone_which_is_out_of_date_makes_it_no_killer(
    project: Project, client: Redis, rows: Rows
) -> None:
    """A Redis that lost its last second knows of a record that ran alone, but not that it failed then."""
    project.configure(max_deliveries=2, backoff="1h")
    project.run("initdb")
    with project.consuming("--name", "web", "--workers", "1") as consumer:
        add(client, project, {"n": 0, "do": "fail"})
        wait_until(lambda: client.exists(errors_key(ref_of(project.stream))), "it has failed once")
        [entry_id] = client.hkeys(errors_key(ref_of(project.stream)))
        client.xclaim(project.stream, "streamfea", "web-1", 0, [entry_id], idle=0, retrycount=2, justid=True)
        client.hset(errors_key(ref_of(project.stream)), entry_id, LastError().running_alone("web-1").to_json())
        add(client, project, {"n": 1, "do": "exit"}, {"n": 2})
        wait_until(lambda: len(letters(client, project)) == 1, "it is tried once more, and buried")
        assert consumer.terminate() == 0
    [letter] = letters(client, project)
    assert (json.loads(letter["record"])["n"], letter["streamfea-reason"]) == (0, "failed")
    assert letter["streamfea-error-type"] == "ValueError"
