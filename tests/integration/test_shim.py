"""From lists to the stream: every element once, in order, as it is."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from streamfea.config.sections import Queue
from streamfea.streams.consuming.legacy_lists import LegacyLists
from tests.support.commands import Project
from tests.support.waiting import wait_until

Rows = Callable[[], list[int]]


@pytest.fixture
def legacy(project: Project, name: str) -> str:
    """The key of the list that the project's queue reads; its stream is as if none were configured."""
    key = f"{name}:list"
    project.stream = f"{{{key}}}:stream"
    project.configure(legacy_list=key, legacy_errors=f"errors-{key}", block="1h")
    return key


def on_stream(client: Redis, stream: str) -> list[bytes]:
    entries: Any = client.xrange(stream)
    return [fields[b"record"] for _, fields in entries]


def records(numbers: range) -> list[bytes]:
    return [json.dumps({"n": number}).encode() for number in numbers]


def lists(client: Redis, key: str) -> LegacyLists:
    return LegacyLists(client, [key], f"{{{key}}}:stream", "record")


def move_all(moving: LegacyLists) -> int:
    total = 0
    while moved := sum(one.elements for one in moving.move()):
        total += moved
    return total


@pytest.mark.core
@pytest.mark.parametrize(
    "elements", [[b"only"], [b"", b"\0\xff\r\n", b"x" * 70_000, b"", b"last"], records(range(5000))]
)
def test_elements_of_any_bytes_are_moved_oldest_first(client: Redis, name: str, elements: list[bytes]) -> None:
    client.lpush(name, *elements)
    assert move_all(lists(client, name)) == len(elements)
    assert on_stream(client, f"{{{name}}}:stream") == elements
    assert not client.exists(name)


def test_a_slice_is_bounded_in_elements_and_in_bytes(client: Redis, name: str) -> None:
    client.lpush(name, *[b"x"] * 5000)
    assert [one.elements for one in lists(client, name).move()] == [2000]
    client.delete(name)
    client.lpush(name, *[b"x" * 600_000] * 5)
    assert [one.elements for one in lists(client, name).move()] == [2]


@pytest.mark.parametrize("count", [1, 3, 2000])
def test_waiting_for_an_element_changes_nothing(client: Redis, name: str, count: int) -> None:
    client.lpush(name, *range(count))
    before = client.lrange(name, 0, -1)
    lists(client, name).wait(Queue(name="q", handler="h", stream="s").block)
    assert client.lrange(name, 0, -1) == before


@pytest.mark.core
@pytest.mark.parametrize("wrong", ["list", "stream"])
def test_a_key_of_another_type_is_told_and_nothing_is_moved(client: Redis, name: str, wrong: str) -> None:
    if wrong == "list":
        client.set(name, "text")
    else:
        client.lpush(name, "a", "b")
        client.set(f"{{{name}}}:stream", "text")
    with pytest.raises(ResponseError, match=f"WRONGTYPE .* is a string, not a {wrong}"):
        move_all(lists(client, name))
    assert client.type(name) == (b"string" if wrong == "list" else b"list")
    assert wrong == "list" or client.llen(name) == 2


@pytest.mark.core
@pytest.mark.parametrize("denied", ["-ltrim", "-xadd", "-lrange"])
def test_without_a_permission_nothing_is_lost_or_doubled(client: Redis, redis_url: str, name: str, denied: str) -> None:
    server: Any = client
    client.lpush(name, "a", "b")
    server.execute_command("ACL", "SETUSER", name, "on", ">pw", "~*", "+@all", denied)
    try:
        with Redis.from_url(redis_url, protocol=2, username=name, password="pw") as restricted:
            with pytest.raises(ResponseError):
                move_all(lists(restricted, name))
            assert (client.llen(name), client.exists(f"{{{name}}}:stream")) == (2, 0)
    finally:
        server.execute_command("ACL", "DELUSER", name)


def test_a_stream_that_takes_no_more_loses_and_doubles_nothing(client: Redis, name: str) -> None:
    stream = f"{{{name}}}:stream"
    client.lpush(name, *range(10))
    # The last id but two: three more fit, then XADD fails in the middle of a slice.
    client.xadd(stream, {"record": "first"}, id=f"{2**64 - 1}-{2**64 - 4}")
    moving = lists(client, name)
    assert [one.elements for one in moving.move()] == [3]
    with pytest.raises(ResponseError):
        move_all(moving)
    assert on_stream(client, stream) == [b"first", b"0", b"1", b"2"]
    assert client.lrange(name, 0, -1) == [b"9", b"8", b"7", b"6", b"5", b"4", b"3"]


def test_several_at_once_keep_the_order(client: Redis, redis_url: str, name: str) -> None:
    def move() -> None:
        with Redis.from_url(redis_url, protocol=2) as own:
            move_all(lists(own, name))

    elements = records(range(30_000))
    client.lpush(name, *elements)
    threads = [threading.Thread(target=move) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert on_stream(client, f"{{{name}}}:stream") == elements


def test_consume_until_empty_empties_the_lists_first(project: Project, client: Redis, legacy: str, rows: Rows) -> None:
    client.lpush(legacy, *records(range(5000)))
    client.lpush(f"errors-{legacy}", *records(range(5000, 5010)))
    [figures] = project.json("status")
    assert (figures["legacy_backlog"], figures["stream"]) == (5010, f"{{{legacy}}}:stream")
    project.run("consume", "--until-empty")
    assert sorted(rows()) == list(range(5010))
    assert [number for number in rows() if number < 5000] == list(range(5000))
    assert client.exists(legacy, f"errors-{legacy}") == 0


def test_consume_in_this_process_moves_as_well(project: Project, client: Redis, legacy: str, rows: Rows) -> None:
    client.lpush(legacy, *records(range(3000)))
    project.run("consume", "q", "--workers", "0", "--until-empty")
    assert rows() == list(range(3000))


def test_an_element_is_consumed_as_soon_as_it_is_pushed_and_sigterm_ends_at_once(
    project: Project, client: Redis, legacy: str, rows: Rows
) -> None:
    project.configure(legacy_list=legacy, block="1s")
    with project.consuming() as consumer:
        wait_until(lambda: "moving from lists" in consumer.log(), "the shim waits")
        for number in range(3):
            client.lpush(legacy, json.dumps({"n": number}))
            wait_until(lambda number=number: len(rows()) == number + 1, "the record is committed")  # type: ignore[misc]  # bound at once
        assert consumer.terminate(10) == 0
    assert rows() == [0, 1, 2]


def test_a_waiting_shim_ends_at_once_however_long_it_may_wait(project: Project, client: Redis, legacy: str) -> None:
    with project.consuming(command="shim") as shim:
        wait_until(lambda: b"blmove" in _commands(client), "the shim waits for an element")
        assert shim.terminate(5) == 0
    with project.consuming(command="shim") as shim:
        wait_until(lambda: "moving from lists" in shim.log(), "the shim is up")
        client.lpush(legacy, *records(range(10)))
        wait_until(lambda: len(on_stream(client, project.stream)) == 10, "all is moved")


def test_a_killed_shim_is_started_again(project: Project, client: Redis, legacy: str, rows: Rows) -> None:
    project.configure(legacy_list=legacy, block="1s")
    with project.consuming() as consumer:
        for number in range(2):
            client.lpush(legacy, json.dumps({"n": number}))
            wait_until(lambda number=number: len(rows()) == number + 1, "the record is committed")  # type: ignore[misc]  # bound at once
            worker, shim = sorted(consumer.workers(), key=lambda process: process.pid)
            assert worker.pid != shim.pid
            shim.kill()
            wait_until(lambda number=number: consumer.log().count("a shim died") == number + 1, "it is noticed")  # type: ignore[misc]  # as above
        client.lpush(legacy, json.dumps({"n": 2}))
        wait_until(lambda: rows() == [0, 1, 2], "its successor goes on")
        assert consumer.terminate() == 0


def test_the_shim_alone_needs_no_database(tmp_path: Path, redis_url: str, client: Redis, name: str) -> None:
    project = Project(tmp_path, redis_url, "postgresql+psycopg://nobody@127.0.0.1:1/nowhere", f"{{{name}}}:stream")
    project.configure("no.such.handler", legacy_list=name)
    assert "pushed to the list" not in project.run("produce", "q", "--list", stdin=b"one\n\ntwo\n")
    assert client.lrange(name, 0, -1) == [b"two", b"one"]
    project.run("shim", "--until-empty")
    assert on_stream(client, project.stream) == [b"one", b"two"]


def test_a_list_that_is_none_stops_at_once(project: Project, client: Redis, legacy: str) -> None:
    client.set(legacy, "text")
    for command in ("consume", "shim"):
        told = project.run(command, expect=2, timeout=20)
        assert f"shim of queue q: WRONGTYPE {legacy} is a string, not a list" in told
    findings = {finding["what"]: finding for finding in project.json("check", expect=1)}
    assert findings["queue q: legacy_list"]["detail"] == f"{legacy} is a string, not a list"
    assert findings["queue q: legacy_errors"]["verdict"] == "ok"


def test_a_queue_without_a_list_is_told(project: Project) -> None:
    assert "queue q has no list: set queues.q.legacy_list" in project.run("shim", expect=2)
    assert "queue q has no list" in project.run("produce", "q", "--list", expect=2)


def test_check_tells_what_the_shim_may_not_do(project: Project, client: Redis, legacy: str, name: str) -> None:
    server: Any = client
    server.execute_command("ACL", "SETUSER", name, "on", ">pw", "~*", "+@all", "-ltrim", "-blmove")
    try:
        text = project.config.read_text().replace("[database]", f'username = "{name}"\npassword = "pw"\n[database]')
        project.config.write_text(text)
        findings = {finding["what"]: finding for finding in project.json("check", expect=1)}
        assert f"LTRIM {legacy}, BLMOVE {legacy}" in findings["queue q: permissions"]["detail"]
        client.lpush(legacy, "a")
        assert "check redis.username" in project.run("shim", expect=2, timeout=20)
        assert client.llen(legacy) == 1
    finally:
        server.execute_command("ACL", "DELUSER", name)


def test_the_table_of_figures_has_a_column_for_lists_and_fits(project: Project, client: Redis, legacy: str) -> None:
    client.lpush(legacy, *range(12_345))
    shown = project.run("status", columns=80)
    assert "12,345" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert len(shown.split("\n\n")[0].splitlines()) == 2  # below the table stands what is wrong
    project.configure()
    assert "in list" not in project.run("status")


def test_old_and_new_producers_and_consumers_work_at_once(
    project: Project, client: Redis, redis_url: str, legacy: str, rows: Rows
) -> None:
    """An old consumer still pops from the list, old producers push to it, a new one adds to the stream."""
    project.configure(legacy_list=legacy, block="1s", workers=2)
    popped: list[int] = []
    ended = threading.Event()

    def old_consumer() -> None:
        with Redis.from_url(redis_url, protocol=2) as own:
            replies: Any = own
            while not ended.is_set():
                reply = replies.brpop([legacy], timeout=0.1)
                if reply:
                    popped.append(json.loads(reply[1])["n"])

    thread = threading.Thread(target=old_consumer)
    thread.start()
    try:
        with project.consuming():
            for start in range(0, 4000, 20):
                client.lpush(legacy, *records(range(start, start + 10)))
                for record in records(range(start + 10, start + 20)):
                    client.xadd(project.stream, {"record": record})
            wait_until(lambda: len(rows()) + len(popped) >= 4000, "every record has found its consumer")
    finally:
        ended.set()
        thread.join()
    assert sorted(rows() + popped) == list(range(4000))


def _commands(client: Redis) -> bytes:
    server: Any = client
    return b" ".join(one["cmd"].encode() for one in server.client_list())
