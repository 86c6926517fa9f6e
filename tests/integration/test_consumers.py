"""Members of the group: listed truthfully, forgotten only when they are gone and hold nothing."""

import json
import os
import socket
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from redis import Redis

from streamfea.streams.connection.keys import janitor_key, name_lock_key
from streamfea.streams.consuming.name_lock import NameHolder, consumer_name
from streamfea.streams.operating.members import forget_if_idle, members
from streamfea.worker.janitor import Janitor
from tests.support.commands import Project
from tests.support.queues import NO_PROCESS, dead_name, join, queue_of, ref_of
from tests.support.waiting import wait_until


def test_consumers_are_listed_with_where_they_run_and_whether_they_live(project: Project, client: Redis) -> None:
    assert project.json("consumers", "list") == []
    client.xgroup_create(project.stream, "streamfea", id="0", mkstream=True)
    here = socket.gethostname()
    join(client, project.stream, consumer_name(None, 1), hold=3)
    join(client, project.stream, dead_name())
    join(client, project.stream, "other-host.example-7-2-abcd")
    join(client, project.stream, "somebody")
    listed = {(one["host"], one["pid"]): one for one in project.json("consumers", "list", "q")}
    assert listed[here, os.getpid()]["alive"] == "yes"
    assert listed[here, os.getpid()]["pending"] == 3
    assert listed[here, NO_PROCESS]["alive"] == "no"
    assert listed["other-host.example", 7]["alive"] == "no"
    assert listed[None, None]["name"] == "somebody"
    assert listed[None, None]["alive"] == "unknown"
    assert "other-host.example" in project.run("consumers", "list")


def test_prune_forgets_the_dead_and_says_why_others_stay(project: Project, client: Redis) -> None:
    client.xgroup_create(project.stream, "streamfea", id="0", mkstream=True)
    holding, dead, live = dead_name(), dead_name(), consumer_name(None, 1)
    join(client, project.stream, holding, hold=2)
    join(client, project.stream, dead)
    join(client, project.stream, live)
    join(client, project.stream, "somebody")
    told = project.run("consumers", "prune")
    assert f"removed  {dead}" in told
    assert f"{holding}: 2 entries pending" in told
    assert f"{live}: it is alive" in told
    assert "somebody: seen" in told
    assert "1 removed, 3 kept" in told
    assert "removed  somebody" in project.run("consumers", "prune", "q", "--idle", "1ms")
    assert client.xpending(project.stream, "streamfea")["pending"] == 2


def test_a_name_that_stays_goes_on_with_what_it_held_when_it_was_killed(
    project: Project, client: Redis, rows: Callable[[], list[int]]
) -> None:
    project.configure(claim_idle="10m", max_deliveries=3)
    for number in range(20):
        client.xadd(project.stream, {"record": json.dumps({"n": number, "do": "slow", "seconds": 0.1})})
    with project.consuming("--name", "web", "--workers", "1") as consumer:
        wait_until(lambda: any(one.pending for one in members(client, ref_of(project.stream))), "it has read")
        [worker] = consumer.workers()
        worker.kill()
        wait_until(lambda: sorted(rows()) == list(range(20)), "all is done, without waiting for claim_idle")
        [member], [successor] = members(client, ref_of(project.stream)), consumer.workers()
        assert (member.name, member.host, member.pid) == ("web-1", socket.gethostname(), successor.pid)
        assert member.alive == "yes"
        assert consumer.terminate() == 0


def test_a_name_is_used_by_one_process_at_a_time(project: Project, client: Redis) -> None:
    client.xadd(project.stream, {"record": '{"n": 1}'})  # before 7.2, Redis lists no consumer that has read nothing
    with project.consuming("--name", "web", "--workers", "1") as first:
        wait_until(lambda: members(client, ref_of(project.stream)), "the first consumes")
        with project.consuming("--name", "web", "--workers", "1") as second:
            wait_until(lambda: "waiting for another process to give up its name" in second.log(), "the second waits")
            [worker] = first.workers()
            assert f"process {worker.pid} on {socket.gethostname()}" in second.log()
            assert "consuming" not in second.log()
            assert first.terminate() == 0
            wait_until(lambda: "consuming" in second.log(), "the second consumes")
            assert second.terminate() == 0
    assert list(client.scan_iter(f"*{project.stream}*consumer*")) == []


def test_a_process_whose_name_went_to_another_ends(project: Project, client: Redis) -> None:
    client.xadd(project.stream, {"record": '{"n": 1}'})  # as above
    with project.consuming("--name", "web", "--workers", "1") as consumer:
        wait_until(lambda: members(client, ref_of(project.stream)), "it consumes")
        client.set(name_lock_key(ref_of(project.stream), "web-1"), str(NameHolder.here()))
        wait_until(lambda: "ending at once" in consumer.log(), "it notices")
        wait_until(lambda: "waiting for another process" in consumer.log(), "its successor waits")
        client.delete(name_lock_key(ref_of(project.stream), "web-1"))
        wait_until(lambda: consumer.log().count("consuming") == 2, "and goes on")


@pytest.mark.core
def test_a_janitor_forgets_only_who_was_not_seen_for_long_and_holds_nothing(client: Redis, name: str) -> None:
    client.xgroup_create(name, "streamfea", id="0", mkstream=True)
    join(client, name, "holding", hold=1)
    join(client, name, "gone")
    wait_until(lambda: all(one.idle_ms > 50 for one in members(client, ref_of(name))), "nobody was seen for 50 ms")
    assert not forget_if_idle(client, ref_of(name), "gone", timedelta(hours=1))
    Janitor(client, ref_of(name), queue_of(name).retention, "me", forget_after=timedelta(milliseconds=50)).tidy()
    assert [one.name for one in members(client, ref_of(name))] == ["holding"]
    assert client.xpending(name, "streamfea")["pending"] == 1


def test_one_janitor_at_a_time_has_a_turn_that_ends_by_itself(client: Redis, name: str) -> None:
    client.xgroup_create(name, "streamfea", id="0", mkstream=True)
    first, second = (
        Janitor(client, ref_of(name), queue_of(name).retention, "first"),
        Janitor(client, ref_of(name), queue_of(name).retention, "second"),
    )
    first.tidy()
    join(client, name, "c", hold=1)
    replies: Any = client  # redis-py leaves the types of replies open
    client.xack(name, "streamfea", replies.xrange(name)[0][0])
    second.tidy()
    assert client.xlen(name) == 1
    [key] = client.scan_iter(f"*{name}*janitor*")
    assert 0 < client.pttl(key) <= 1000
    third = Janitor(client, ref_of(name), queue_of(name).retention, "third")
    wait_until(lambda: not client.exists(key), "the turn is over")
    third.tidy()
    assert client.xlen(name) == 0


def test_the_ledger_is_pruned_from_turn_to_turn_as_long_as_there_is_more_and_then_not_for_a_while(
    client: Redis, name: str
) -> None:
    client.xgroup_create(name, "streamfea", id="0", mkstream=True)
    client.xadd(name, {"record": "{}"}, id="5-0")
    asked: list[str] = []

    def prune(first_id: str) -> bool:
        asked.append(first_id)
        return len(asked) < 2

    janitor = Janitor(client, ref_of(name), queue_of(name).retention, "c", prune_ledger=prune)
    key = janitor_key(ref_of(name))
    for turns in (1, 2, 3):
        wait_until(lambda: not client.exists(key), "the turn before is over")
        wait_until(partial(takes_turn, janitor, client, key), "it has another turn")
        assert asked == ["5-0"] * min(turns, 2)


def test_thousands_of_dead_names_delay_no_record(
    project: Project, client: Redis, rows: Callable[[], list[int]]
) -> None:
    client.xgroup_create(project.stream, "streamfea", id="0", mkstream=True)
    create_consumers(client, project.stream, 12_000)
    client.xadd(project.stream, {"record": '{"n": 1}'})
    long_ago = "import streamfea.worker.janitor as janitor; from datetime import timedelta; "
    long_ago += "janitor.Janitor.__init__.__kwdefaults__['forget_after'] = timedelta(0)"
    with project.consuming("--workers", "1", prelude=long_ago) as consumer:
        wait_until(lambda: rows() == [1], "the first record is done")
        wait_until(lambda: "forgot a consumer" in consumer.log(), "it tidies up, a few at a time")
        client.xadd(project.stream, {"record": '{"n": 2}'})
        wait_until(lambda: rows() == [1, 2], "and goes on meanwhile", seconds=5)
        assert consumer.terminate() == 0
    assert len(members(client, ref_of(project.stream))) > 1_000
    assert " removed, " in project.run("consumers", "prune", "--idle", "1ms")
    assert members(client, ref_of(project.stream)) == []


def create_consumers(client: Redis, stream: str, number: int) -> None:
    """Make consumers that have read something once, as all versions list them, and hold nothing."""
    last = client.xadd(stream, {"record": "{}"})
    with client.pipeline(transaction=False) as at_once:
        for one in range(number):
            at_once.xclaim(stream, "streamfea", f"gone-{one}", 0, [last], force=True)
        at_once.xack(stream, "streamfea", last)
        at_once.xdel(stream, last)
        at_once.execute()


def takes_turn(janitor: Janitor, client: Redis, key: str) -> bool:
    janitor.tidy()
    return bool(client.exists(key))
