"""Every error reply that means something to us, as real servers give it: wait, create the group again, or stop."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from streamfea.config.sections import Queue, RedisSettings
from streamfea.streams.connection.client import open_redis
from streamfea.streams.connection.errors import group_is_gone, is_outage, must_stop, told
from streamfea.streams.consuming.group import GroupConsumer
from streamfea.streams.consuming.last_error import LastError
from streamfea.streams.consuming.legacy_lists import LegacyLists
from streamfea.streams.consuming.reader import Reader
from streamfea.streams.consuming.trim import Trimmer
from tests.support.servers import answers, free_port, redis_server
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.core, pytest.mark.xdist_group("error replies")]

_QUEUE = Queue(name="q", handler="h", stream="s", legacy_list="{s}:list")


def meaning(error: RedisError) -> str:
    """Return what the worker does about it."""
    verdicts = {
        "wait": is_outage(error),
        "recreate": isinstance(error, ResponseError) and group_is_gone(error),
        "stop": must_stop(error),
    }
    [verdict] = [name for name, given in verdicts.items() if given] or ["crash"]
    return verdict


def errors_of(client: Redis) -> dict[str, RedisError]:
    """Return the errors, by name, of each kind of step that a worker takes: commands, scripts, a transaction."""
    group = GroupConsumer(client, _QUEUE.ref, "c", _QUEUE.claim_idle)
    found: dict[str, RedisError] = {}
    steps: dict[str, Callable[[], object]] = {
        "create": group.create,
        "read": lambda: Reader(client, group, 1 << 24).read(1, None),
        "acknowledge": lambda: group.acknowledge_retried(["1-1"]),
        "claim": lambda: group.claim(1),
        "postpone": lambda: group.postpone([("1-1", LastError("E", "e"))], 0),
        "renew": lambda: group.renew(["1-1"]),
        "leave": group.leave,
        "drained": group.is_drained,
        "trim": Trimmer(client, _QUEUE.ref).trim,
        "move": lambda: list(LegacyLists(client, _QUEUE.legacy_lists, _QUEUE.stream, _QUEUE.field).move()),
    }
    for name, step in steps.items():
        try:
            step()
        except RedisError as error:
            found[name] = error
    return found


def connect(port: int, *, block: float = 0, username: str | None = None, password: SecretStr | None = None) -> Redis:
    settings = RedisSettings(url=f"redis://127.0.0.1:{port}/0", username=username, password=password)
    return open_redis(settings, timedelta(seconds=block))


@contextmanager
def prepared(folder: Path, *options: str) -> Iterator[tuple[Redis, int]]:
    """Yield a client of a server that has what the steps work on: an entry that is pending, a list; and its port."""
    with redis_server(folder, *options) as port, connect(port) as client:
        _run(client, "XADD", "s", "1-1", "record", "r")
        _run(client, "RPUSH", "{s}:list", "r")
        group = GroupConsumer(client, _QUEUE.ref, "c", _QUEUE.claim_idle)
        group.create()
        Reader(client, group, 1 << 24).read(1, None)
        yield client, port


def test_a_replica_that_takes_no_writes_and_one_that_lost_its_master_are_waited_for(tmp_path: Path) -> None:
    with prepared(tmp_path) as (client, _):
        _run(client, "REPLICAOF", "127.0.0.1", str(free_port()))
        errors = errors_of(client)
        assert {meaning(error) for error in errors.values()} == {"wait"}
        assert "read only" in str(errors["read"])
        client.config_set("replica-serve-stale-data", "no")
        errors = errors_of(client)
        assert {meaning(error) for error in errors.values()} == {"wait"}
        assert len(errors) == 10
        assert "MASTER is down" in str(errors["drained"])
        _run(client, "REPLICAOF", "NO", "ONE")
        assert errors_of(client) == {}


def test_a_server_that_is_still_loading_is_waited_for(tmp_path: Path) -> None:
    # It answers meanwhile once in two megabytes, and takes five milliseconds for each key.
    with redis_server(tmp_path, "--rdbcompression", "no") as port, connect(port) as client:
        for number in range(600):
            client.set(f"key{number}", "x" * 30_000)
        client.save()
    with redis_server(tmp_path, "--key-load-delay", "5000") as port, connect(port) as client:
        with pytest.raises(RedisError) as loading:
            Reader(client, GroupConsumer(client, _QUEUE.ref, "c", _QUEUE.claim_idle), 1 << 24).read(1, None)
        wait_until(lambda: answers(client), "it has loaded")
        assert errors_of(client) == {}
    assert meaning(loading.value) == "wait"
    assert "loading" in str(loading.value)


def test_a_server_at_its_limit_of_memory_is_waited_for(tmp_path: Path) -> None:
    with prepared(tmp_path, "--maxmemory-policy", "noeviction") as (client, _):
        client.delete("s")  # what is there already needs no memory
        client.config_set("maxmemory", "1")
        errors = errors_of(client)
        assert {meaning(error) for error in errors.values()} == {"wait"}
        assert "maxmemory" in str(errors["create"])


def test_a_server_that_cannot_persist_or_has_too_few_replicas_is_waited_for(tmp_path: Path) -> None:
    with prepared(tmp_path, "--dbfilename", "is-a-folder") as (client, _):
        client.config_set("min-replicas-to-write", "1")
        errors = errors_of(client)
        assert "NOREPLICAS" in str(errors["read"])
        assert {meaning(error) for error in errors.values()} == {"wait"}
        client.config_set("min-replicas-to-write", "0")
        client.config_set("save", "3600 1")
        (tmp_path / "is-a-folder").mkdir()
        with pytest.raises(ResponseError):
            client.save()
        _run(client, "BGSAVE")
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "the save has failed")
        errors = errors_of(client)
        assert "MISCONF" in str(errors["read"])
        assert {meaning(error) for error in errors.values()} == {"wait"}


def test_a_server_that_a_script_blocks_is_waited_for(tmp_path: Path) -> None:
    with prepared(tmp_path, "--lua-time-limit", "10") as (client, port):
        blocking = threading.Thread(target=_block, args=(port,))
        blocking.start()
        wait_until(lambda: not answers(client), "the script blocks")
        errors = errors_of(client)
        client.script_kill()
        blocking.join()
        assert {meaning(error) for error in errors.values()} == {"wait"}
        assert "BUSY" in str(errors["read"])
        assert errors_of(client) == {}


def test_who_is_not_let_in_or_may_not_is_told_to_the_operator(tmp_path: Path) -> None:
    with prepared(tmp_path) as (client, port):
        _run(client, "ACL", "SETUSER", "weak", "on", ">pw", "~*", "+ping")
        for password in ("pw", "wrong"):
            with connect(port, username="weak", password=SecretStr(password)) as denied:
                errors = errors_of(denied)
            assert len(errors) == 10
            assert {meaning(error) for error in errors.values()} == {"stop"}
            assert all("check redis.username, its password" in told(error) for error in errors.values())
        client.config_set("requirepass", "secret")
        with connect(port) as stranger:
            errors = errors_of(stranger)
        assert len(errors) == 10
        assert {meaning(error) for error in errors.values()} == {"stop"}


@pytest.mark.parametrize("command", ["xack", "xreadgroup", "xpending", "xclaim", "hset", "hdel"])
def test_a_command_that_a_script_or_a_transaction_may_not_run_is_told(
    client: Redis, redis_url: str, name: str, command: str
) -> None:
    _run(client, "ACL", "SETUSER", name, "on", ">pw", "~*", "+@all", f"-{command}")
    queue = _QUEUE.model_copy(update={"stream": f"{name}:s"})
    with open_redis(RedisSettings(url=redis_url, username=name, password=SecretStr("pw"))) as denied:
        group = GroupConsumer(denied, queue.ref, "c", queue.claim_idle)
        client.xadd(queue.stream, {"record": "r"})
        group.create()
        errors = []
        steps: list[Callable[[], object]] = [
            lambda: Reader(denied, group, 1 << 24).read(1, None),
            lambda: group.postpone(
                [(GroupConsumer(client, queue.ref, "c", queue.claim_idle).unseen((), 1)[0].id, LastError("E", "e"))], 0
            ),
            lambda: group.claim(1),
            lambda: group.acknowledge_retried(["1-1"]),
        ]
        for step in steps:
            try:
                step()
            except RedisError as error:
                errors.append(error)
            except IndexError:
                pass
    _run(client, "ACL", "DELUSER", name)
    assert errors
    assert {meaning(error) for error in errors} == {"stop"}


@pytest.mark.parametrize("key", ["s", "{s}:errors:streamfea", "{s}:list"])
def test_a_key_of_another_type_is_told_to_the_operator(tmp_path: Path, key: str) -> None:
    with prepared(tmp_path) as (client, _):
        client.set(key, "a string")
        errors = errors_of(client)
        assert errors
        assert {meaning(error) for error in errors.values()} == {"stop"}
        assert all("a key is in use for something else" in told(error) for error in errors.values())


@pytest.mark.parametrize("how", ["destroy", "delete", "flush"])
def test_a_group_that_vanishes_is_created_again_also_under_a_blocked_read(tmp_path: Path, how: str) -> None:
    with prepared(tmp_path) as (client, port), connect(port, block=2) as reading:
        reader = Reader(reading, GroupConsumer(reading, _QUEUE.ref, "c", _QUEUE.claim_idle), 1 << 24)
        blocked = threading.Thread(target=lambda: reader.read(1, timedelta(seconds=2)))
        blocked.start()
        wait_until(lambda: client.info("clients")["blocked_clients"] == 1, "the read waits")
        if how == "destroy":
            client.xgroup_destroy("s", "streamfea")
        elif how == "delete":
            client.delete("s")
        else:
            client.flushall()
        blocked.join()
        client.xadd("s", {"record": "new"})
        wait_until(lambda: any(b"new" in entry.fields.values() for entry in reader.read(10, None)), "it reads again")
        client.xgroup_destroy("s", "streamfea")
        assert set(errors_of(client)) <= {"create"}


def test_a_node_of_a_cluster_is_waited_for_or_told(tmp_path: Path) -> None:
    options = ("--cluster-enabled", "yes")
    with (
        redis_server(tmp_path / "a", *options) as port_a,
        redis_server(tmp_path / "b", *options) as port_b,
        connect(port_a) as a,
        connect(port_b) as b,
    ):
        down = errors_of(a)
        assert {meaning(error) for error in down.values()} == {"wait"}
        assert "not served" in str(down["read"]) or "down" in str(down["read"])
        _run(a, "CLUSTER", "ADDSLOTS", *range(16384))
        _run(a, "CLUSTER", "MEET", "127.0.0.1", port_b)
        wait_until(lambda: all("cluster_state:ok" in _info(one) for one in (a, b)), "the nodes know each other")
        moved = errors_of(b)
        assert len(moved) == 10
        assert {meaning(error) for error in moved.values()} == {"stop"}
        assert "MOVED" in told(moved["read"])
        assert all("node of a cluster" in told(error) for error in moved.values())
        assert errors_of(a) == {}
        with pytest.raises(RedisError) as crossing:
            a.rename("one", "other")
        assert meaning(crossing.value) == "stop"

        slot = _run(a, "CLUSTER", "KEYSLOT", "s")
        _run(a, "CLUSTER", "SETSLOT", slot, "MIGRATING", _run(b, "CLUSTER", "MYID"))
        _run(b, "CLUSTER", "SETSLOT", slot, "IMPORTING", _run(a, "CLUSTER", "MYID"))
        with pytest.raises(RedisError) as asked:
            a.get("{s}:gone")
        assert meaning(asked.value) == "stop"
        with b.pipeline(transaction=False) as pipeline, pytest.raises(RedisError) as trying:
            pipeline.execute_command("ASKING").exists("s", "{s}:gone").execute()
        assert meaning(trying.value) == "wait"


def _info(client: Redis) -> str:
    return str(_run(client, "CLUSTER", "INFO"))


def _run(client: Redis, *command: Any) -> Any:
    raw: Any = client
    return raw.execute_command(*command)


def _block(port: int) -> None:
    with connect(port, block=60) as client, pytest.raises(ResponseError):
        client.eval("while true do end", 0)
