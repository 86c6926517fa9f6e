"""Faults of a Redis that stays up: one consumer lives through all of them, loses nothing and buries nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from streamfea.embedded import ensure_valkey
from streamfea.streams.connection.keys import dead_letters_key, errors_key
from tests.support.commands import Consumer, Project
from tests.support.queues import ref_of
from tests.support.servers import free_port
from tests.support.waiting import wait_until

Rows = Callable[[], list[int]]

pytestmark = [pytest.mark.timeout(180), pytest.mark.flaky(reruns=0)]

_STREAM = "load"


class Witness:
    """Adds records, and knows which there must be rows of."""

    def __init__(self, client: Redis, rows: Rows, consumer: Consumer) -> None:
        self.client: Any = client
        self.added: list[int] = []
        self._rows = rows
        self._consumer = consumer

    def add(self, count: int, *, size: int = 10) -> None:
        with self.client.pipeline(transaction=False) as pipeline:
            for number in range(len(self.added), len(self.added) + count):
                self.added.append(number)
                pipeline.xadd(_STREAM, {"record": json.dumps({"n": number, "filling": "x" * size})})
            pipeline.execute()

    def sees_all(self) -> None:
        """Wait until every record has its row."""
        missing = set(self.added)
        wait_until(lambda: not (missing - set(self._rows())), f"all rows are there; {self._consumer.log()}", 60)

    def sees_the_outage(self) -> None:
        """Wait until the consumer says that it waits, once for each outage."""
        before = self._consumer.log().count("Redis is back")
        wait_until(lambda: self._consumer.log().count("waiting for Redis") > before, "it waits for Redis")


def test_a_consumer_lives_through_all_that_a_redis_can_say(
    tmp_path: Path, own_valkey: Path, database_url: str, rows: Rows
) -> None:
    url = ensure_valkey(own_valkey)
    project = Project(tmp_path, url, database_url, _STREAM)
    project.configure(block="500ms", retention="keep", max_deliveries=2, batch_size=50, claim_idle="1h")
    project.run("initdb")
    with Redis.from_url(url, protocol=2) as client, project.consuming() as consumer:
        witness = Witness(client, rows, consumer)
        witness.add(10)
        witness.sees_all()
        for fault in (
            _becomes_a_replica, _is_full, _kicks_clients, _forgets_scripts, _cuts_off_long_replies, _is_flushed,
        ):  # fmt: skip
            fault(witness)
            witness.add(10)
            witness.sees_all()
        wait_until(lambda: not witness.client.xpending(_STREAM, "streamfea")["pending"], "all is acknowledged")
        assert consumer.terminate() == 0
        assert not witness.client.exists(dead_letters_key(ref_of(_STREAM)), errors_key(ref_of(_STREAM)))
    assert len(rows()) == len(set(rows())), "nothing was taken from a consumer that lives"
    log = consumer.log()
    assert "Traceback" not in log
    assert log.count("waiting for Redis") == log.count("Redis is back")


def test_a_server_that_is_full_is_emptied(tmp_path: Path, own_valkey: Path, database_url: str, rows: Rows) -> None:
    url = ensure_valkey(own_valkey)
    project = Project(tmp_path, url, database_url, _STREAM)
    project.configure(block="500ms")
    project.run("initdb")
    project.run("consume", "--until-empty")  # a group, which a full server could not make
    with Redis.from_url(url, protocol=2) as client:
        numbers = range(1000)
        for number in numbers:
            client.xadd(_STREAM, {"record": json.dumps({"n": number})})
        client.config_set("maxmemory", "1")
        project.run("consume", "--until-empty")
        assert sorted(rows()) == list(numbers)
        assert client.xlen(_STREAM) == 0


def _becomes_a_replica(witness: Witness) -> None:
    witness.client.replicaof("127.0.0.1", free_port())
    witness.sees_the_outage()
    witness.client.replicaof("NO", "ONE")


def _is_full(witness: Witness) -> None:
    """What makes room is consuming, and that needs no memory."""
    witness.add(500)
    witness.client.config_set("maxmemory", "1")
    witness.sees_all()
    wait_until(lambda: not witness.client.xpending(_STREAM, "streamfea")["pending"], "all is acknowledged")
    witness.client.config_set("maxmemory", "0")


def _kicks_clients(witness: Witness) -> None:
    for _ in range(5):
        witness.add(200)
        witness.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def _forgets_scripts(witness: Witness) -> None:
    witness.client.script_flush()


def _cuts_off_long_replies(witness: Witness) -> None:
    witness.client.config_set("client-output-buffer-limit", "normal 256kb 0 0")
    witness.add(600, size=10_000)
    witness.sees_all()
    witness.client.config_set("client-output-buffer-limit", "normal 0 0 0")


def _is_flushed(witness: Witness) -> None:
    witness.client.flushall()
