"""What is due is claimed at once, however much waits that is not."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from redis import Redis

from streamfea.config.sections import Queue
from streamfea.streams.connection.keys import errors_key
from streamfea.streams.consuming.group import Claimed, GroupConsumer
from streamfea.streams.consuming.last_error import LastError
from tests.support.commands import Project
from tests.support.queues import ref_of
from tests.support.waiting import wait_until

_HOUR_MS = 3_600_000


@pytest.fixture
def group(client: Redis, name: str) -> GroupConsumer:
    queue = Queue(name="q", handler="h", stream=name, claim_idle=timedelta(seconds=60))
    group = GroupConsumer(client, queue.ref, "me", queue.claim_idle)
    group.create()
    return group


def test_thousands_that_wait_for_an_hour_do_not_delay_what_is_due(
    project: Project, client: Redis, rows: Callable[[], list[int]]
) -> None:
    project.configure(backoff="1s", max_deliveries=1_000)
    queue = Queue(name="q", handler="recorder", stream=project.stream)
    other = GroupConsumer(client, queue.ref, "another", queue.claim_idle)
    other.create()
    postpone(client, other, 5_000, idle_ms=60_000)
    client.xadd(project.stream, {"record": json.dumps({"n": 1, "do": "retry", "delay": "3s"})})
    with project.consuming("--workers", "1") as consumer:
        wait_until(lambda: deliveries(client, queue) == 1, "it was tried")
        wait_until(lambda: deliveries(client, queue) > 1, "its retry is due and was made", seconds=15)
        assert consumer.terminate() == 0
    assert client.xpending(project.stream, "streamfea")["pending"] == 5_001


@pytest.mark.core
def test_who_had_an_entry_is_told_whatever_lies_between(client: Any, group: GroupConsumer) -> None:
    expected: dict[str, str] = {}
    for number in range(400):
        added = client.xadd(group.ref.stream, {"n": str(number)}).decode()
        client.xreadgroup("streamfea", f"c{number % 7}", {group.ref.stream: ">"})
        if number % 25 == 0:
            set_idle(client, group, f"c{number % 7}", added, 60_000)
            expected[added] = f"c{number % 7}"
    assert {one.id: one.owner for one in claim_all(group, 3)} == expected
    assert list(claim_all(group, 3)) == []


def test_what_was_deleted_from_the_stream_loses_its_error_and_what_is_not_due_goes_back(
    client: Redis, group: GroupConsumer
) -> None:
    stream = group.ref.stream
    postpone(client, group, 3, idle_ms=60_000)
    ids = [one["message_id"].decode() for one in pending(client, group)]
    client.xdel(stream, ids[0])
    error = LastError("E", "due").due(failed_at_ms=0, due_ms=0)
    client.hset(errors_key(ref_of(stream)), ids[2], error.to_json())
    claimed = {one.id: one.deliveries for one in claim_all(group, 10)}
    assert claimed.pop(ids[2]) == 1
    assert not claimed
    assert not client.hexists(errors_key(ref_of(stream)), ids[0])
    put_back = {one["message_id"].decode(): one["time_since_delivered"] for one in pending(client, group)}
    assert put_back[ids[1]] < 60_000


def postpone(client: Any, group: GroupConsumer, number: int, *, idle_ms: int) -> None:
    """Add so many entries and have them wait for an hour, having been put back `idle_ms` ago."""
    stream, due = group.ref.stream, group.now_ms() + _HOUR_MS
    error = LastError("Retry", "later").due(failed_at_ms=0, due_ms=due).to_json()
    with client.pipeline(transaction=False) as at_once:
        for one in range(number):
            at_once.xadd(stream, {"record": json.dumps({"n": one})})
        added = at_once.execute()
        at_once.xreadgroup("streamfea", group.consumer, {stream: ">"}, count=number)
        at_once.xclaim(stream, "streamfea", group.consumer, 0, added, idle=idle_ms, justid=True)
        at_once.hset(errors_key(ref_of(stream)), mapping=dict.fromkeys(added, error))
        at_once.execute()


def set_idle(client: Any, group: GroupConsumer, consumer: str, entry_id: str, idle_ms: int) -> None:
    client.xclaim(group.ref.stream, "streamfea", consumer, 0, [entry_id], idle=idle_ms, justid=True)


def claim_all(group: GroupConsumer, count: int) -> Iterator[Claimed]:
    yield from group.claim(count)
    while not group.claim_finished:
        yield from group.claim(count)


def pending(client: Any, group: GroupConsumer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.xpending_range(group.ref.stream, "streamfea", "-", "+", 10_000)
    return found


def deliveries(client: Any, queue: Queue) -> int:
    """Return how often the newest entry was delivered."""
    last = client.xrevrange(queue.stream, count=1)[0][0]
    found = client.xpending_range(queue.stream, "streamfea", last, last, 1)
    return int(found[0]["times_delivered"]) if found else 0
