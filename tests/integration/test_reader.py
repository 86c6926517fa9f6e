"""Entries are acknowledged with the next read, and read ahead while others run: none is lost, or waits for long."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import ConnectionError, NoPermissionError  # noqa: A004 - redis-py's name for it

from streamfea.config.sections import Queue, RedisSettings
from streamfea.core.entry import Entry
from streamfea.streams.connection.client import open_redis
from streamfea.streams.consuming.group import GroupConsumer
from streamfea.streams.consuming.name_lock import NameHolder, NameLock
from streamfea.streams.consuming.reader import Reader
from streamfea.worker.held import Held
from streamfea.worker.lease import Lease
from streamfea.worker.monitor import RunMonitor
from tests.support.waiting import wait_until

Rows = Callable[[], list[int]]


class Consumer:
    """A reader on a connection of its own, and the group that it reads."""

    def __init__(self, client: Redis, stream: str) -> None:
        queue = Queue(name="q", handler="h", stream=stream)
        self.group = GroupConsumer(client, queue.ref, "c", queue.claim_idle)
        self.group.create()
        self.reader = Reader(client, self.group, 1 << 24)
        self.client = client


@pytest.fixture
def consumer(client: Redis, redis_url: str, name: str) -> Iterator[Consumer]:
    execute(client, "ACL", "SETUSER", name, "on", ">pw", "~*", "+@all")
    for number in range(1, 7):
        client.xadd(name, {"n": str(number)}, id=f"{number}-0")
    with open_redis(RedisSettings(url=redis_url, username=name, password=SecretStr("pw"))) as own:
        yield Consumer(own, name)
    execute(client, "ACL", "DELUSER", name)


def pending(client: Redis, consumer: Consumer) -> list[str]:
    ref = consumer.group.ref
    found: Any = client.xpending_range(ref.stream, ref.group, "-", "+", 100)
    return [one["message_id"].decode() for one in found]


def execute(client: Any, *command: str) -> None:
    client.execute_command(*command)


def read(reader: Reader, count: int) -> list[str]:
    return [entry.id for entry in reader.read(count, None)]


def test_what_is_acknowledged_goes_along_with_the_next_read(client: Redis, consumer: Consumer) -> None:
    reader = consumer.reader
    reader.acknowledge(read(reader, 2))
    assert pending(client, consumer) == ["1-0", "2-0"]
    reader.read_ahead(2)
    wait_until(lambda: pending(client, consumer) == ["3-0", "4-0"], "both were done, with nobody waiting for it")
    assert [entry.id for entry in reader.receive()] == ["3-0", "4-0"]
    reader.acknowledge(["3-0", "4-0"])
    reader.confirm()
    assert pending(client, consumer) == []


def test_what_was_asked_for_is_ahead_until_it_is_received(client: Redis, consumer: Consumer) -> None:
    reader = consumer.reader
    assert not reader.is_ahead
    assert reader.receive() == []  # nothing was asked for

    reader.read_ahead(2)
    assert reader.is_ahead
    wait_until(lambda: pending(client, consumer) == ["1-0", "2-0"], "the reply is there")
    held: list[str] = []
    reader.catch_up(lambda entries: held.extend(entry.id for entry in entries))
    assert held == ["1-0", "2-0"]
    assert reader.is_ahead  # taken in, but not received
    assert [entry.id for entry in reader.receive()] == ["1-0", "2-0"]
    assert not reader.is_ahead
    assert reader.receive() == []


def test_a_failure_is_ahead_until_it_is_met(client: Redis, consumer: Consumer) -> None:
    reader = consumer.reader
    execute(client, "ACL", "SETUSER", consumer.group.ref.stream, "-xreadgroup")
    reader.read_ahead(2)
    assert reader.is_ahead
    with pytest.raises(NoPermissionError):
        reader.receive()
    assert not reader.is_ahead
    execute(client, "ACL", "SETUSER", consumer.group.ref.stream, "+xreadgroup")
    assert read(reader, 2) == ["1-0", "2-0"]


def test_what_is_acknowledged_while_a_reply_is_ahead_is_not_forgotten(client: Redis, consumer: Consumer) -> None:
    reader = consumer.reader
    first = read(reader, 2)
    reader.read_ahead(2)
    reader.acknowledge(first)
    reader.receive()
    reader.acknowledge(read(reader, 1))
    reader.catch_up(lambda _: None)
    assert pending(client, consumer) == ["3-0", "4-0"]


def test_another_thread_can_catch_up_and_meets_what_is_then_met_again(
    client: Redis, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = consumer.reader
    first = read(reader, 2)
    reader.read_ahead(2)
    reader.acknowledge(first)
    told: list[list[str]] = []
    wait_until(lambda: pending(client, consumer) == ["1-0", "2-0", "3-0", "4-0"], "the reply is sent")
    wait_until(reader._has_something_to_read, "the reply is there")
    reader.catch_up(lambda arrived: told.append([entry.id for entry in arrived]))
    assert told == [["3-0", "4-0"]]
    assert pending(client, consumer) == ["3-0", "4-0"]
    assert [entry.id for entry in reader.receive()] == ["3-0", "4-0"]
    reader.read_ahead(2)
    wait_until(lambda: len(pending(client, consumer)) == 4, "the reply is there")
    reader._connection.disconnect()
    monkeypatch.setattr(reader, "_has_something_to_read", lambda: True)
    reader.catch_up(lambda _: None)
    assert reader.is_ahead
    with pytest.raises(ConnectionError):
        reader.receive()
    assert not reader.is_ahead


def test_when_the_connection_is_lost_nothing_else_is(client: Redis, consumer: Consumer) -> None:
    reader = consumer.reader
    reader.acknowledge(read(reader, 2))
    client.client_pause(300, all=False)
    reader.read_ahead(2)
    execute(client, "CLIENT", "KILL", "USER", consumer.group.ref.stream)
    with pytest.raises(ConnectionError):
        reader.receive()
    assert pending(client, consumer) == ["1-0", "2-0"]
    assert read(reader, 2) == ["3-0", "4-0"]
    assert pending(client, consumer) == ["3-0", "4-0"]


def test_when_a_reply_is_lost_its_entries_can_be_found(client: Redis, consumer: Consumer) -> None:
    reader = consumer.reader
    reader.acknowledge(read(reader, 2))
    reader.read_ahead(2)
    wait_until(lambda: pending(client, consumer) == ["3-0", "4-0"], "the server has done it")
    reader._connection.disconnect()
    with pytest.raises(ConnectionError):
        reader.receive()
    assert not reader.is_ahead
    assert read(reader, 10) == ["5-0", "6-0"]
    assert [one.id for one in consumer.group.unseen({"5-0", "6-0"}, 10)] == ["3-0", "4-0"]


def test_entries_that_came_with_a_refusal_to_acknowledge_are_kept(client: Redis, consumer: Consumer) -> None:
    reader = consumer.reader
    name = consumer.group.ref.stream
    reader.acknowledge(read(reader, 2))
    execute(client, "ACL", "SETUSER", name, "-xack")
    for _ in range(2):
        with pytest.raises(NoPermissionError):
            reader.read(2, None) if not reader.is_ahead else reader.receive()
    assert pending(client, consumer) == ["1-0", "2-0", "3-0", "4-0"]
    execute(client, "ACL", "SETUSER", name, "+xack")
    assert [entry.id for entry in reader.receive()] == ["3-0", "4-0"]
    assert pending(client, consumer) == ["3-0", "4-0"]


def test_what_another_thread_is_taking_in_is_still_to_be_received(
    client: Redis, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = consumer.reader
    receive, has_begun, go_on = reader._receive, threading.Event(), threading.Event()

    def receive_slowly() -> list[Entry]:
        entries = receive()
        has_begun.set()
        assert go_on.wait(10)
        return entries

    monkeypatch.setattr(reader, "_receive", receive_slowly)
    reader.read_ahead(2)
    wait_until(lambda: pending(client, consumer) == ["1-0", "2-0"], "the reply is there")
    catching_up = threading.Thread(target=lambda: reader.catch_up(lambda _: None))
    catching_up.start()
    assert has_begun.wait(5)
    with ThreadPoolExecutor(1) as pool:
        is_ahead, received = pool.submit(lambda: reader.is_ahead), pool.submit(reader.receive)
        assert all(client.ping() for _ in range(100))  # others are answered meanwhile
        assert not is_ahead.done()
        go_on.set()
        assert is_ahead.result(10)
        assert [entry.id for entry in received.result(10)] == ["1-0", "2-0"]
    catching_up.join()


def test_leases_are_renewed_whatever_hinders_what_is_done_beside(client: Redis, consumer: Consumer) -> None:
    ref, claim_idle = consumer.group.ref, timedelta(milliseconds=600)
    group = GroupConsumer(consumer.client, ref, "c", claim_idle)
    execute(client, "ACL", "SETUSER", ref.stream, "-xack")
    reader = Reader(consumer.client, group, 1 << 24)
    done, held = read(reader, 1), read(reader, 1)
    reader.acknowledge(done)
    name_lock = NameLock(consumer.client, ref, "c", NameHolder.here())
    held_by_lease = Held()
    held_by_lease.add(Entry(ref.queue, ref.stream, entry_id, {}) for entry_id in held)
    lease = Lease(
        group, name_lock, RunMonitor(), held_by_lease, lambda _: None, lambda: reader.catch_up(lambda _: None)
    )
    lease.start()
    idle_ms: list[int] = []

    def renewals() -> int:
        [entry] = client.xpending_range(ref.stream, ref.group, held[0], held[0], 1)
        idle_ms.append(int(entry["time_since_delivered"]))
        return sum(later < earlier for earlier, later in pairwise(idle_ms))

    wait_until(lambda: renewals() >= 5, "the lease is renewed again and again")
    lease.end()
    assert max(idle_ms) < 600


def test_a_group_that_is_gone_is_created_again_whatever_was_to_be_acknowledged(
    client: Redis, consumer: Consumer
) -> None:
    reader = consumer.reader
    reader.acknowledge(read(reader, 6))
    client.delete(consumer.group.ref.stream)
    assert read(reader, 6) == []
    client.xadd(consumer.group.ref.stream, {"n": "7"}, id="7-0")
    assert read(reader, 6) == ["7-0"]
