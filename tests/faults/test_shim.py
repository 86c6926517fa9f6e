"""The shim under fire: whatever dies, every element is on the stream once, in the list's order."""

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from streamfea.embedded import ensure_valkey, stop
from tests.support.commands import Project
from tests.support.waiting import wait_until

# How long the storm lasts; `just soak` makes it longer.
_SECONDS = float(os.environ.get("STREAMFEA_TEST_SECONDS", "4"))

pytestmark = [pytest.mark.timeout(180), pytest.mark.flaky(reruns=0)]


class OldProducer:
    """Pushes numbers as long as it runs, and knows which ones the server has confirmed, in their order."""

    def __init__(self, url: str, key: str) -> None:
        self.confirmed: list[int] = []
        self._url = url
        self._key = key
        self._ended = threading.Event()

    @contextmanager
    def running(self) -> Iterator["OldProducer"]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()

    def _run(self) -> None:
        number = 0
        with Redis.from_url(self._url, protocol=2) as client:
            while not self._ended.wait(0.001):
                numbers = range(number, number + 50)
                number += 50
                try:
                    client.lpush(self._key, *numbers)
                except RedisError:
                    continue
                self.confirmed += numbers


def on_stream(client: Redis, stream: str) -> list[int]:
    entries: Any = client.xrange(stream)
    return [int(fields[b"record"]) for _, fields in entries]


def test_shims_killed_anywhere_lose_and_double_nothing(tmp_path: Path, own_valkey: Path) -> None:
    url = ensure_valkey(own_valkey)
    project = Project(tmp_path, url, "postgresql+psycopg://nobody@127.0.0.1:1/nowhere", "{old}:stream")
    project.configure(legacy_list="old")
    producer = OldProducer(url, "old")
    kills = 0
    with Redis.from_url(url, protocol=2) as client:
        client.lpush("old", *range(-100_000, 0))
        with producer.running():
            deadline = time.monotonic() + 2 * _SECONDS
            while time.monotonic() < deadline:
                kills += start_and_kill_two(project, client)
        project.run("shim", "--until-empty")
        assert on_stream(client, project.stream) == [*range(-100_000, 0), *producer.confirmed]
    assert kills >= 4


def test_a_server_that_becomes_a_replica_is_waited_for(tmp_path: Path, own_valkey: Path) -> None:
    url = ensure_valkey(own_valkey)
    project = Project(tmp_path, url, "postgresql+psycopg://nobody@127.0.0.1:1/nowhere", "{old}:stream")
    project.configure(legacy_list="old")
    with Redis.from_url(url, protocol=2) as client, project.consuming(command="shim") as shim:
        blocked: Any = client.info
        wait_until(lambda: blocked("clients")["blocked_clients"] == 1, "the shim waits for an element")
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        wait_until(lambda: "waiting for Redis" in shim.log(), "it is noticed")
        client.execute_command("REPLICAOF", "NO", "ONE")
        client.lpush("old", 1)
        wait_until(lambda: on_stream(client, project.stream) == [1], "work goes on")
        assert shim.terminate(5) == 0, shim.log()


def test_a_restart_of_redis_is_survived_with_one_line_and_nothing_lost(tmp_path: Path, own_valkey: Path) -> None:
    url = ensure_valkey(own_valkey)
    project = Project(tmp_path, url, "postgresql+psycopg://nobody@127.0.0.1:1/nowhere", "{old}:stream")
    project.configure(legacy_list="old")
    producer = OldProducer(url, "old")
    with producer.running(), project.consuming(command="shim") as shim:
        for _ in range(2):
            before = len(producer.confirmed)
            wait_until(lambda before=before: len(producer.confirmed) > before + 1000, "the producer works")  # type: ignore[misc]  # bound at once
            stop(own_valkey)
            wait_until(
                lambda: shim.log().count("waiting for Redis") == shim.log().count("is back") + 1, "it is noticed"
            )
            ensure_valkey(own_valkey)
            wait_until(lambda: shim.log().count("waiting for Redis") == shim.log().count("is back"), "it is over")
        assert shim.log().count("waiting for Redis") == 2
        assert shim.terminate(5) == 0, shim.log()
    project.run("shim", "--until-empty")
    with Redis.from_url(url, protocol=2) as client:
        moved = on_stream(client, project.stream)
    # A push whose answer was lost with the connection may be there all the same.
    confirmed = set(producer.confirmed)
    assert [number for number in moved if number in confirmed] == producer.confirmed
    assert len(moved) == len(set(moved))
    assert moved == sorted(moved)


def start_and_kill_two(project: Project, client: Redis) -> int:
    """Kill two shims at any moment after they have begun; return how many that were."""
    with project.consuming(command="shim") as first, project.consuming(command="shim") as second:
        enough = client.xlen(project.stream) + random.randint(1, 10_000)
        wait_until(lambda: client.xlen(project.stream) >= enough or not client.llen("old"), "elements are moved")
        for shim in (first, second):
            shim.process.kill()
    return 2
