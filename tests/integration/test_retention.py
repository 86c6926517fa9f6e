"""Not one entry that a group has not acknowledged is ever removed, and what all have acknowledged does not stay."""

import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis
from redis.exceptions import ResponseError

from streamfea.config.retention import parse_retention
from streamfea.core.group_ref import GroupRef
from streamfea.streams.consuming.trim import Trimmer, count_acknowledged
from tests.support.commands import Project

Rows = Callable[[], list[int]]

_GROUPS = ["fast", "slow", "paused", "late", "last"]
_COUNTS = st.integers(1, 250)
_OPERATIONS = st.one_of(
    st.tuples(st.just("add"), _COUNTS),
    st.tuples(st.sampled_from(["create at 0", "create at $"]), st.sampled_from(["late", "last"])),
    st.tuples(st.just("read"), st.sampled_from(_GROUPS), _COUNTS),
    st.tuples(st.just("acknowledge"), st.sampled_from(_GROUPS), _COUNTS, st.booleans()),
    st.tuples(st.just("set back"), st.sampled_from(_GROUPS)),
    st.tuples(st.just("delete"), st.integers(0, 100)),
    st.tuples(st.just("trim"), st.sampled_from(["acked", "keep", "1ms", "1h", "maxlen:1", "maxlen:150"])),
)


class Model:
    """A stream, and for each of its groups what it still has to read or to acknowledge."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        self.stream = f"retention{secrets.token_hex(4)}"
        self.unread: dict[str, list[bytes]] = {}
        self.pending: dict[str, list[bytes]] = {}
        for group in ("fast", "slow", "paused"):
            self.create(group, "0")

    def create(self, group: str, start: str) -> None:
        try:
            self.client.xgroup_create(self.stream, group, id=start, mkstream=True)
        except ResponseError:
            return
        self.unread[group] = self.present() if start == "0" else []
        self.pending[group] = []

    def present(self) -> list[bytes]:
        return ids_of(self.client, self.stream)

    def add(self, count: int) -> None:
        with self.client.pipeline() as pipeline:
            for _ in range(count):
                pipeline.xadd(self.stream, {"record": "x" * 40})
            added = pipeline.execute()
        for unread in self.unread.values():
            unread.extend(added)

    def read(self, group: str, count: int) -> None:
        if group not in self.unread:
            return
        self.client.xreadgroup(group, "c", {self.stream: ">"}, count=count)
        self.pending[group] = sorted({*self.pending[group], *self.unread[group][:count]}, key=_order)
        del self.unread[group][:count]

    def acknowledge(self, group: str, count: int, from_the_end: bool) -> None:
        held = self.pending.get(group, [])
        chosen = held[-count:] if from_the_end else held[:count]
        if chosen:
            self.client.xack(self.stream, group, *chosen)
            self.pending[group] = [one for one in held if one not in chosen]

    def set_back(self, group: str) -> None:
        if group in self.unread:
            self.client.xgroup_setid(self.stream, group, "0")
            self.unread[group] = self.present()

    def delete(self, position: int) -> None:
        for entry_id in self.present()[position : position + 1]:
            self.client.xdel(self.stream, entry_id)
            for ids in (*self.unread.values(), *self.pending.values()):
                if entry_id in ids:
                    ids.remove(entry_id)

    def needed(self) -> set[bytes]:
        return {one for ids in (*self.unread.values(), *self.pending.values()) for one in ids}

    def trim(self, retention: str) -> None:
        before = self.present()
        wanted = parse_retention(retention)
        if wanted.removes:
            removed = sum(Trimmer(self.client, GroupRef(self.stream, ""), wanted).trim_all())
            assert removed == len(before) - self.client.xlen(self.stream)
        present = self.present()
        if retention == "acked":
            assert set(present) == self.needed() & set(before)
        elif retention in ("keep", "1h"):
            assert present == before
        elif wanted.length:
            assert len(present) >= min(wanted.length, len(before))
            assert len(present) <= wanted.length or set(present) <= self.needed()

    def run(self, operation: str, *arguments: object) -> None:
        if operation.startswith("create at"):
            self.create(str(arguments[0]), operation.removeprefix("create at "))
        else:
            getattr(self, operation.replace(" ", "_"))(*arguments)
        assert self.needed() <= set(self.present()), "an entry that a group still needs is gone"


def ids_of(client: Redis, stream: str) -> list[bytes]:
    entries: Any = client.xrange(stream)  # redis-py leaves the types of replies open
    return [entry_id for entry_id, _ in entries]


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, number = entry_id.split(b"-")
    return int(milliseconds), int(number)


@pytest.mark.core
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(_OPERATIONS, max_size=25))
def test_nothing_is_removed_that_a_group_has_not_acknowledged(
    client: Redis, operations: list[tuple[object, ...]]
) -> None:
    model = Model(client)
    try:
        for operation in operations:
            model.run(str(operation[0]), *operation[1:])
        counted = sum(count_acknowledged(client, GroupRef(model.stream, "")))
        assert counted == len(set(model.present()) - model.needed())
        model.run("trim", "acked")
    finally:
        client.delete(model.stream)


def test_a_stream_that_no_group_reads_is_left_alone(client: Redis, name: str) -> None:
    assert sum(Trimmer(client, GroupRef(name, "")).trim_all()) == 0
    client.xadd(name, {"record": "x"})
    assert sum(Trimmer(client, GroupRef(name, "")).trim_all()) == 0
    assert client.xlen(name) == 1


@pytest.mark.parametrize("last", ["5-18446744073709551615", "18446744073709551-9", "18446744073709551614-199"])
def test_the_longest_ids_are_handled_exactly(client: Redis, name: str, last: str) -> None:
    client.xadd(name, {"record": "x"}, id="1-1")
    client.xadd(name, {"record": "x"}, id=last)
    client.xgroup_create(name, "g", id="0")
    client.xreadgroup("g", "c", {name: ">"})
    client.xack(name, "g", "1-1")
    assert sum(Trimmer(client, GroupRef(name, "")).trim_all()) == 1
    client.xack(name, "g", last)
    assert sum(Trimmer(client, GroupRef(name, "")).trim_all()) == 1


@pytest.mark.parametrize(("retention", "left"), [("acked", 0), ("keep", 5000), ("1h", 5000), ("maxlen:1234", 1234)])
def test_workers_keep_what_retention_says(
    project: Project, client: Redis, rows: Rows, retention: str, left: int
) -> None:
    project.configure(retention=retention)
    with client.pipeline() as pipeline:
        for number in range(5000):
            pipeline.xadd(project.stream, {"record": json.dumps({"n": number})})
        pipeline.execute()
    project.run("consume", "--until-empty")
    assert len(rows()) == 5000
    assert client.xlen(project.stream) == left


def test_trim_counts_first_and_keeps_what_others_need(project: Project, client: Redis) -> None:
    assert "no group reads" in project.run("trim")
    project.configure(retention="keep")
    with client.pipeline() as pipeline:
        for number in range(1500):
            pipeline.xadd(project.stream, {"record": json.dumps({"n": number})})
        pipeline.execute()
    client.xgroup_create(project.stream, "slower", id="0")
    client.xreadgroup("slower", "c", {project.stream: ">"}, count=1000)
    project.run("consume", "--until-empty")
    ids = ids_of(client, project.stream)
    client.xack(project.stream, "slower", *ids[:300], *ids[301:1000])
    assert "would remove 999 entries" in project.run("trim", "q", "--dry-run")
    assert client.xlen(project.stream) == 1500
    assert "removed 999 entries" in project.run("trim")
    assert ids_of(client, project.stream) == [ids[300], *ids[1000:]]


def test_nothing_goes_while_the_group_that_it_is_for_is_gone(client: Redis, name: str) -> None:
    client.xgroup_create(name, "other", mkstream=True)
    client.xadd(name, {"record": "1"})
    entries: Any = client.xreadgroup("other", "c", {name: ">"})
    client.xack(name, "other", entries[0][1][0][0])
    assert sum(Trimmer(client, GroupRef(name, "gone")).trim_all()) == 0
    assert sum(count_acknowledged(client, GroupRef(name, "gone"))) == 0
    client.xgroup_create(name, "gone", id="$")
    assert sum(count_acknowledged(client, GroupRef(name, "gone"))) == 1
    assert sum(Trimmer(client, GroupRef(name, "gone")).trim_all()) == 1
