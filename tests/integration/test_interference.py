"""What others do to entries while they are retried or run: no last error is left of what is not pending any more."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from redis import Redis

from streamfea.core.entry import Entry
from streamfea.streams.connection.keys import errors_key
from streamfea.streams.consuming.group import Claimed, GroupConsumer
from streamfea.streams.consuming.last_error import LastError
from streamfea.streams.consuming.leftovers import Sweeper
from streamfea.streams.operating.retry_and_reject import make_due
from tests.support.commands import Project
from tests.support.queues import consumer_of, ref_of
from tests.support.waiting import wait_until

_LATER = 2**52


def acknowledge(client: Redis, stream: str, entry_id: str) -> None:
    client.xack(stream, "streamfea", entry_id)


def drop_with_its_consumer(client: Redis, stream: str, _entry_id: str) -> None:
    for one in client.xinfo_consumers(stream, "streamfea"):
        client.xgroup_delconsumer(stream, "streamfea", one["name"])


def trim(client: Redis, stream: str, _entry_id: str) -> None:
    client.xtrim(stream, maxlen=0)


_INTERFERENCES: Mapping[str, Callable[[Redis, str, str], None]] = {
    "XACK": acknowledge,
    "DELCONSUMER": drop_with_its_consumer,
    "XTRIM": trim,
}


def failed(client: Redis, stream: str, due_ms: int = _LATER) -> tuple[GroupConsumer, str]:
    """Return a group that postpones an entry, and its id."""
    group = consumer_of(client, stream, "c")
    group.create()
    entry_id = client.xadd(stream, {"record": "{}"}).decode()  # type: ignore[union-attr]  # redis-py leaves the types of replies open
    client.xreadgroup("streamfea", "c", {stream: ">"})
    assert group.postpone([(entry_id, LastError("E", "e", due_ms=due_ms))], 0) == [True]
    return group, entry_id


@pytest.mark.parametrize("by", ["XACK", "DELCONSUMER"])
def test_status_counts_as_retrying_only_what_is_pending(lone: Project, client: Redis, by: str) -> None:
    _, entry_id = failed(client, lone.stream)
    assert lone.json("status")[0]["retrying"] == 1
    _INTERFERENCES[by](client, lone.stream, entry_id)
    [status] = lone.json("status")
    assert (status["retrying"], status["pending"]) == (0, 0)


def test_a_sweep_removes_rubbish_and_nothing_else(client: Redis, name: str) -> None:
    _, kept = failed(client, name)
    rubbish = {f"1-{number}": LastError("E", "e").to_json() for number in range(500)}
    client.hset(errors_key(ref_of(name)), mapping=rubbish)  # type: ignore[arg-type]  # redis-py's mapping is of unions
    sweeper = Sweeper(client, ref_of(name))
    while not sweeper.sweep():
        pass
    assert client.hkeys(errors_key(ref_of(name))) == [kept.encode()]


_STEPS: Mapping[str, Callable[[Redis, GroupConsumer, Entry], object]] = {
    "postpone": lambda _, group, entry: group.postpone([(entry.id, LastError("E", "e"))], 0),
    "bury": lambda _, group, entry: group.bury([(entry, {"entry-id": entry.id})]),
    "hand over": lambda _, group, entry: group.hand_over([Claimed(entry.id, 1, LastError("E", "e"))]),
    "deliver": lambda _, group, entry: group.deliver_alone(Claimed(entry.id, 1, LastError("E", "e"))),
    "make due": lambda client, group, entry: list(make_due(client, group.ref, group.claim_idle, [entry.id], [])),
}


@pytest.mark.parametrize("by", _INTERFERENCES)
@pytest.mark.parametrize("step", _STEPS)
def test_no_step_leaves_a_last_error_of_what_is_not_pending_any_more(
    client: Redis, name: str, by: str, step: str
) -> None:
    group, entry_id = failed(client, name)
    _INTERFERENCES[by](client, name, entry_id)
    _STEPS[step](client, group, Entry("q", name, entry_id, {b"record": b"{}"}))
    left = client.hkeys(errors_key(ref_of(name)))
    pending = client.xpending(name, "streamfea")["pending"]
    assert len(left) <= pending


@pytest.mark.parametrize("by", _INTERFERENCES)
def test_workers_leave_nothing_of_what_others_take_from_them(project: Project, client: Redis, by: str) -> None:
    project.configure(backoff="1h", claim_idle="2s")
    client.xadd(project.stream, {"record": json.dumps({"n": 1, "do": "fail"})})
    with project.consuming() as consumer:
        wait_until(lambda: client.exists(errors_key(ref_of(project.stream))), "it is retried")
        replies: Any = client  # redis-py leaves the types of replies open
        [(entry_id, _)] = replies.xrange(project.stream)
        _INTERFERENCES[by](client, project.stream, entry_id.decode())
        wait_until(lambda: not client.exists(errors_key(ref_of(project.stream))), "its last error is gone")
        assert consumer.terminate() == 0
