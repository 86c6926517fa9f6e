"""Faults of the world, under load: no record lost, none in the dead letters, no delivery burnt."""

import json
import os
import random
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import create_engine, text

from streamfea.embedded import ensure_postgresql, ensure_valkey, server_pid, stop
from streamfea.streams.connection.keys import dead_letters_key, errors_key
from tests.support.commands import Consumer, Project
from tests.support.queues import ref_of
from tests.support.waiting import wait_until

# How long a server stays away or a storm of kills lasts; `just soak` makes it longer.
_SECONDS = float(os.environ.get("STREAMFEA_TEST_SECONDS", "4"))

pytestmark = [pytest.mark.timeout(180), pytest.mark.flaky(reruns=0)]


class Producer:
    """Adds records as long as it runs, and knows which ones the server has confirmed."""

    def __init__(self, url: str, stream: str) -> None:
        self.confirmed: list[int] = []
        self._url = url
        self._stream = stream
        self._ended = threading.Event()
        self._number = 0

    @contextmanager
    def running(self) -> Iterator["Producer"]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()

    def _run(self) -> None:
        with Redis.from_url(self._url, protocol=2) as client:
            while not self._ended.wait(0.005):
                with suppress(RedisError):
                    self._add(client)

    def _add(self, client: Redis) -> None:
        numbers = range(self._number, self._number + 10)
        self._number += 10
        with client.pipeline(transaction=True) as pipeline:
            for number in numbers:
                pipeline.xadd(self._stream, {"record": json.dumps({"n": number})})
            pipeline.execute()
        self.confirmed += numbers


class World:
    """A project on servers of its own."""

    def __init__(self, folder: Path, valkey: Path, postgresql: Path) -> None:
        self.valkey, self.postgresql = valkey, postgresql
        self.redis_url, self.database_url = ensure_valkey(valkey), ensure_postgresql(postgresql)
        self.project = Project(folder, self.redis_url, self.database_url, "load")
        self.project.configure(max_deliveries=2, claim_idle="2s", block="1s")
        self.project.run("initdb")
        self.producer = Producer(self.redis_url, "load")

    def expects_kills(self) -> None:
        """Allow more tries: a record that runs alone when its worker is killed may have been the reason, and pays."""
        self.project.configure(max_deliveries=10, claim_idle="2s", block="1s")

    def rows(self) -> list[int]:
        engine = create_engine(self.database_url)
        try:
            with engine.connect() as connection:
                return list(connection.scalars(text("SELECT number FROM seen")))
        finally:
            engine.dispose()

    def goes_on(self) -> None:
        """Wait until records that were added after now are committed."""
        before = len(self.producer.confirmed)
        wait_until(lambda: len(self.producer.confirmed) > before + 50, "the producer works")
        last = self.producer.confirmed[-1]
        wait_until(lambda: last in self.rows(), "work goes on by itself", seconds=15)

    def nothing_was_lost(self, *, at_least_from: int = 0) -> None:
        """Check that every confirmed record has its row, and that none was given up."""
        self.project.run("consume", "--until-empty")
        missing = {number for number in self.producer.confirmed if number >= at_least_from} - set(self.rows())
        with Redis.from_url(self.redis_url, protocol=2) as client:
            assert client.xrange(dead_letters_key(ref_of("load"))) == []
            assert not missing, f"{len(missing)} records have no row, the first is {min(missing)}"
            assert client.exists(errors_key(ref_of("load"))) == 0
            summary = client.xpending("load", "streamfea")
        assert summary["pending"] == 0


@pytest.fixture
def world(tmp_path: Path, own_valkey: Path, own_postgresql: Path) -> World:
    return World(tmp_path, own_valkey, own_postgresql)


def test_postgresql_stops_and_starts_again(world: World) -> None:
    with world.producer.running(), world.project.consuming("--workers", "2") as consumer:
        world.goes_on()
        stop(world.postgresql)
        away_for(_SECONDS)
        ensure_postgresql(world.postgresql)
        world.goes_on()
        wait_until(lambda: consumer.log().count("PostgreSQL is back") == 2, "both workers go on")
        assert consumer.terminate() == 0
    assert consumer.log().count("waiting for PostgreSQL") == 2, consumer.log()
    assert consumer.log().count("PostgreSQL is back") == 2, consumer.log()
    assert len(consumer.log().splitlines()) < 20
    assert len(world.rows()) == len(set(world.rows()))
    world.nothing_was_lost()


def test_postgresql_crashes(world: World) -> None:
    with world.producer.running(), world.project.consuming("--workers", "2") as consumer:
        for _ in range(3):
            world.goes_on()
            stop(world.postgresql, at_once=True)
            ensure_postgresql(world.postgresql)
        world.goes_on()
        assert consumer.terminate() == 0
    world.nothing_was_lost()


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_a_record_that_waits_for_postgresql_is_not_taken_for_what_kills_its_worker(
    world: World, guarantee: str
) -> None:
    world.project.configure(max_deliveries=2, claim_idle="2s", block="1s", guarantee=guarantee)
    world.project.run("initdb")
    with Redis.from_url(world.redis_url) as client, world.project.consuming() as consumer:
        wait_until(lambda: "consuming" in consumer.log(), "it works")
        stop(world.postgresql, at_once=True)
        client.xadd("load", {"record": json.dumps({"n": 1})})
        for times in range(1, 4):
            wait_until(partial(waits, consumer, times), "the worker, or its successor, waits")
            for worker in consumer.workers():
                worker.kill()
        wait_until(partial(waits, consumer, 4), "the last one waits")
        assert client.xlen(dead_letters_key(ref_of("load"))) == 0
        wait_until(partial(is_taken_back, client), "the delivery that led to nothing is taken back")


def test_redis_stops_and_starts_again(world: World) -> None:
    with world.producer.running(), world.project.consuming("--workers", "2") as consumer:
        world.goes_on()
        stop(world.valkey)
        away_for(_SECONDS)
        ensure_valkey(world.valkey)
        world.goes_on()
        wait_until(lambda: consumer.log().count("Redis is back") == 2, "both workers go on")
        assert consumer.terminate() == 0
    assert consumer.log().count("waiting for Redis") == 2, consumer.log()
    assert consumer.log().count("Redis is back") == 2, consumer.log()
    world.nothing_was_lost()


def test_the_group_is_destroyed(world: World) -> None:
    with world.producer.running(), world.project.consuming("--workers", "2") as consumer:
        world.goes_on()
        with Redis.from_url(world.redis_url) as client:
            client.xgroup_destroy("load", "streamfea")
        world.goes_on()
        assert consumer.terminate() == 0
    world.nothing_was_lost()


def test_the_stream_is_deleted(world: World) -> None:
    with world.producer.running(), world.project.consuming("--workers", "2") as consumer:
        world.goes_on()
        with Redis.from_url(world.redis_url) as client:
            client.delete("load")
        first_after = world.producer.confirmed[-1] + 20
        world.goes_on()
        assert consumer.terminate() == 0
    world.nothing_was_lost(at_least_from=first_after)


def test_two_workers_deadlock(world: World) -> None:
    world.project.configure(max_deliveries=1, batch_size=1)
    with Redis.from_url(world.redis_url) as client:
        for record in ({"n": 1}, {"n": 2}):
            client.xadd("load", {"record": json.dumps(record)})
        world.project.run("consume", "--until-empty")
        for number, order in ((3, [1, 2]), (4, [2, 1]), (5, [1, 2]), (6, [2, 1])):
            client.xadd("load", {"record": json.dumps({"n": number, "do": "cross", "order": order})})
    with world.project.consuming("--workers", "2", "--until-empty") as consumer:
        consumer.process.wait(60)
    assert "deadlock detected" in consumer.log()
    assert sorted(world.rows()) == [1, 2, 3, 4, 5, 6]
    world.nothing_was_lost()


def test_workers_are_killed_at_random(world: World) -> None:
    world.expects_kills()
    chance = random.Random(4)
    with world.producer.running(), world.project.consuming("--workers", "3") as consumer:
        world.goes_on()
        until = time.monotonic() + _SECONDS
        while time.monotonic() < until:
            wait_until(consumer.workers, "workers come back")
            for worker in consumer.workers()[: chance.randint(1, 2)]:
                worker.kill()
            away_for(chance.random())
        world.goes_on()
        assert consumer.terminate() == 0
    world.nothing_was_lost()


def test_the_supervisor_is_killed_and_takes_its_workers_along(world: World) -> None:
    world.expects_kills()
    with world.producer.running():
        for _ in range(3):
            with world.project.consuming("--workers", "2") as consumer:
                world.goes_on()
                workers = consumer.workers()
                assert len(workers) == 2
                consumer.process.kill()
                consumer.process.wait()
                wait_until(lambda gone=workers: not any(one.is_running() for one in gone), "the workers are gone", 10)  # type: ignore[misc]  # bound at once
    world.nothing_was_lost()


def test_all_is_killed_at_once(world: World) -> None:
    world.expects_kills()
    with world.producer.running():
        for _ in range(3):
            with world.project.consuming("--workers", "2") as consumer:
                world.goes_on()
                for worker in consumer.workers():
                    worker.kill()
                consumer.process.kill()
    world.nothing_was_lost()


def test_consumers_come_and_go_and_share_the_queue_without_doing_anything_twice(world: World) -> None:
    with world.producer.running(), world.project.consuming() as first:
        world.goes_on()
        for _ in range(3):
            with world.project.consuming("--name", "guest") as guest, world.project.consuming() as other:
                wait_until(lambda logs=(guest, other): all("consuming" in one.log() for one in logs), "all work")  # type: ignore[misc]  # bound at once
                world.goes_on()
                assert guest.terminate() == 0
                assert other.terminate() == 0
        assert first.terminate() == 0
    world.nothing_was_lost()
    assert len(world.rows()) == len(set(world.rows()))


def test_a_server_that_is_back_at_an_older_state_has_nothing_done_twice_by_exactly_once(world: World) -> None:
    """As after a failover to a replica that lags behind, or a restore: what was done is pending or new again."""
    world.project.configure(guarantee="exactly-once", claim_idle="1s", block="500ms")
    world.project.run("initdb")
    with Redis.from_url(world.redis_url) as client:
        client.xgroup_create("load", "streamfea", id="0", mkstream=True)
        for number in range(200):
            client.xadd("load", {"record": json.dumps({"n": number})})
        client.xreadgroup("streamfea", "gone", {"load": ">"}, count=100)
    stop(world.valkey)
    older = world.valkey.with_name("older")
    shutil.copytree(world.valkey, older)
    ensure_valkey(world.valkey)
    world.project.run("consume", "--until-empty")
    assert sorted(world.rows()) == list(range(200))
    stop(world.valkey)
    shutil.rmtree(world.valkey)
    older.rename(world.valkey)
    ensure_valkey(world.valkey)
    with Redis.from_url(world.redis_url) as client:
        assert client.xlen("load") == 200
    world.project.run("consume", "--until-empty")
    assert sorted(world.rows()) == list(range(200))
    with Redis.from_url(world.redis_url) as client:
        assert client.xpending("load", "streamfea")["pending"] == 0


def test_servers_of_the_tests_really_stop(own_valkey: Path) -> None:
    ensure_valkey(own_valkey)
    stop(own_valkey)
    assert server_pid(own_valkey) is None


def waits(consumer: Consumer, times: int) -> bool:
    return consumer.log().count("waiting for PostgreSQL") >= times


def is_taken_back(client: Redis) -> bool:
    """Tell whether the pending entry is as if it had been delivered once; not so while an attempt to run it is made."""
    [delivered] = client.xpending_range("load", "streamfea", "-", "+", 1)
    return delivered["times_delivered"] == 1 and not client.hgetall(errors_key(ref_of("load")))


def away_for(seconds: float) -> None:
    """Let the world be as it is for a while: the passing of time is what is tested."""
    over = threading.Event()
    over.wait(seconds)
