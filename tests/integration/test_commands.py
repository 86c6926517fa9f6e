"""The other commands, as an operator uses them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import create_engine, text

from tests.support.commands import Project
from tests.support.waiting import wait_until

Rows = Callable[[], list[int]]

_WIDTH = 80


def put(client: Redis, project: Project, count: int, **more: object) -> None:
    with client.pipeline() as pipeline:
        for number in range(count):
            pipeline.xadd(project.stream, {"record": json.dumps({"n": number, **more})})
        pipeline.execute()


def deliver(client: Redis, project: Project, count: int) -> None:
    """Have a consumer that never comes back read entries."""
    client.xgroup_create(project.stream, "streamfea", id="0", mkstream=True)
    client.xreadgroup("streamfea", "gone", {project.stream: ">"}, count=count)


def test_the_first_handler_of_all_runs_as_it_is(project: Project, database_url: str) -> None:
    project.configure("seed")
    project.run("initdb")
    project.run(
        "produce", "q", stdin=b'{"name": "b\xc3\xa4r", "timestamp": "2026-01-31T12:34:56.789+01:00", "new": 1}\n' * 3
    )
    project.run("consume", "--until-empty")
    engine = create_engine(database_url)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT name, timestamp FROM my_event")).all()
    engine.dispose()
    assert rows == [("bär", datetime(2026, 1, 31, 11, 34, 56, 789000, UTC))] * 3


def test_status_is_right_before_there_is_anything(project: Project) -> None:
    [figures] = project.json("status")
    assert figures == {
        "queue": "q", "stream": project.stream, "group": "streamfea", "length": 0, "lag": 0,
        "lag_ms": None, "lag_exact": True, "entries_read": 0, "error": None, "pending": 0, "retrying": 0, "dead": 0,
        "oldest_pending_ms": None, "consumers": 0, "backlog": 0, "legacy_backlog": None,
    }  # fmt: skip
    assert project.json("pending") == []


@pytest.mark.core
def test_status_counts_what_waits_and_what_is_pending(project: Project, client: Redis) -> None:
    put(client, project, 25)
    [before] = project.json("status")
    assert (before["length"], before["lag"], before["lag_exact"]) == (25, 25, True)
    deliver(client, project, 10)
    client.xdel(project.stream, client.xrange(project.stream, count=20)[19][0])  # type: ignore[index,arg-type]  # redis-py leaves the types of replies open
    [figures] = project.json("status", "--fail-lag", "3", expect=3)
    assert (figures["lag"], figures["lag_exact"], figures["pending"], figures["consumers"]) == (14, True, 10, 1)
    project.run("status", "--fail-age", "0s", expect=3)
    project.run("status", "--fail-age", "1h", "--fail-lag", "14")


def test_ten_thousand_pending_entries_are_listed_oldest_first(project: Project, client: Redis) -> None:
    put(client, project, 10_000)
    deliver(client, project, 10_000)
    listed = project.json("pending", "--limit", "20000", "--fail-over", "9999", expect=3)
    assert len(listed) == 10_000
    assert [one["id"] for one in listed] == [one.decode() for one, _ in client.xrange(project.stream)]  # type: ignore[union-attr]  # as above
    assert set(listed[0]) == {
        "queue", "id", "consumer", "idle_ms", "age_ms", "deliveries", "state", "error",
        "where", "due_in_ms", "running_ms", "host", "pid",
    }  # fmt: skip
    assert {one["state"] for one in listed} == {"in-flight"}
    shown = project.run("pending")
    assert "100 of 10,000 shown" in shown
    [figures] = project.json("status")
    assert figures["pending"] == 10_000


def test_pending_tells_what_is_retried_and_why_and_what_is_stranded(project: Project, client: Redis) -> None:
    project.configure(backoff="1h", claim_idle="300ms")
    put(client, project, 1, do="fail")
    with project.consuming() as consumer:
        wait_until(lambda: client.hlen(f"{{{project.stream}}}:errors:streamfea"), "the record has failed")
        consumer.terminate()
    [entry] = project.json("pending", "--min-deliveries", "1")
    assert (entry["state"], entry["deliveries"], entry["error"]) == ("retrying", 1, "ValueError: asked to fail")
    assert "ValueError: asked to fail" in project.run("pending")
    put(client, project, 1)
    client.xreadgroup("streamfea", "gone", {project.stream: ">"})
    wait_until(lambda: project.json("pending", "--consumer", "gone", "--idle", "300ms"), "nobody has touched it")
    [stranded] = project.json("pending", "--consumer", "gone")
    assert stranded["state"] == "stranded"


def test_tables_fit_a_terminal(project: Project, client: Redis) -> None:
    put(client, project, 20_000, do="fail")
    deliver(client, project, 10_000)
    for command in ("status", "pending"):
        lines = project.run(command, columns=_WIDTH).splitlines()
        assert max(map(len, lines)) <= _WIDTH, "\n".join(lines[:5])


@pytest.mark.parametrize("command", ["causes", "pending", "produce q"])
def test_a_redis_that_is_down_is_one_line(project: Project, tmp_path: Path, database_url: str, command: str) -> None:
    down = Project(tmp_path, f"unix://{tmp_path}/nowhere.sock", database_url, "s")
    told = down.run(*command.split(), expect=1, stdin=b"{}\n")
    assert told.startswith("Error: Redis: ")
    assert len(told.splitlines()) == 1


def test_produce_puts_one_record_a_line(project: Project, client: Redis, tmp_path: Path) -> None:
    (tmp_path / "records").write_bytes(b"one\n\ntwo\r\nthree")
    project.run("produce", "q", str(tmp_path / "records"))
    records = [fields[b"record"] for _, fields in client.xrange(project.stream)]  # type: ignore[union-attr,index]  # as above
    assert records == [b"one", b"two", b"three"]
    project.configure(field="*")
    told = project.run("produce", "q", stdin=b'{"a": 1, "b": "x"}\n[3]\n', expect=1)
    assert "line 2 is no JSON object" in told
    assert "no file" in project.run("produce", "q", "no file", expect=1)


def test_a_record_that_is_longer_than_redis_takes_is_refused(project: Project, client: Redis, tmp_path: Path) -> None:
    file = tmp_path / "records"
    with file.open("wb") as records:
        records.write(b'{"n": 1}\n\n')
        records.truncate(records.tell() + 512 * 1024 * 1024 + 1)
    told = project.run("produce", "q", str(file), expect=1)
    assert "line 3 is longer than the 512 MiB" in told
    assert "0 records are on the stream" in told
    assert client.xlen(project.stream) == 0


def test_consume_without_tables_says_what_to_do(project: Project) -> None:
    project.run("dropdb", "--yes")
    told = project.run("consume", "--until-empty", expect=2)
    assert "the database lacks table seen: run `streamfea initdb`" in told
    project.run("consume", "--until-empty", "--create-tables")
    assert "already" in project.run("initdb")


def test_dropdb_asks_first(project: Project) -> None:
    project.run("dropdb", stdin=b"n\n", expect=1)
    assert "Dropped seen" in project.run("dropdb", "--yes")


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        ("nowhere", "there is no module 'nowhere'"),
        ("json", "json has no function process(dbsession, record)"),
    ],
)
def test_a_handler_that_cannot_work_stops_at_once(project: Project, handler: str, told: str) -> None:
    project.configure(handler)
    assert told in project.run("consume", expect=2, timeout=20)


def test_a_key_that_is_no_stream_stops_at_once(project: Project, client: Redis) -> None:
    client.set(project.stream, "text")
    assert "set another stream" in project.run("consume", expect=2, timeout=20)


def test_check_is_content_with_what_works(project: Project) -> None:
    findings = project.json("check")
    assert {finding["verdict"] for finding in findings} == {"ok"}, findings


def test_check_finds_what_is_wrong_and_says_what_to_do(project: Project, client: Redis) -> None:
    project.run("dropdb", "--yes")
    client.set(project.stream, "text")
    findings = {finding["what"]: finding for finding in project.json("check", expect=1)}
    assert findings["tables"]["remedy"] == "run `streamfea initdb`, or consume with --create-tables"
    assert findings["queue q: stream"]["verdict"] == "problem"
    assert "2 problems found" in project.run("check", expect=1)


@pytest.mark.core
def test_check_tells_what_a_user_may_not_do(
    project: Project, client: Redis, redis_url: str, database_url: str, name: str
) -> None:
    client.execute_command("ACL", "SETUSER", name, "on", ">pw", "~*", "+@all", "-xack", "-xgroup")  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
    try:
        project.configure()
        project.config.write_text(
            project.config.read_text().replace("[database]", f'username = "{name}"\npassword = "pw"\n[database]')
        )
        findings = {finding["what"]: finding for finding in project.json("check", expect=1)}
        assert findings["queue q: permissions"]["detail"] == (
            f"not permitted: XACK {project.stream}, XGROUP CREATE, XGROUP DELCONSUMER"
        )
        assert "Error: redis" in project.run("consume", expect=2, timeout=20)
    finally:
        client.execute_command("ACL", "DELUSER", name)  # type: ignore[no-untyped-call]  # as above


def test_print_config_is_toml_with_secrets_masked(project: Project) -> None:
    project.config.write_text(project.config.read_text().replace("[database]", 'password = "geheim"\n[database]'))
    shown = project.run("print-config")
    assert 'password = "**********"' in shown
    assert "geheim" not in shown


def test_check_says_which_streams_there_are_when_the_queues_own_has_never_had_an_entry(
    project: Project, client: Redis, name: str
) -> None:
    def stream_found() -> dict[str, Any]:
        [found] = [one for one in project.json("check") if one["what"] == "queue q: stream"]
        return found

    assert stream_found()["verdict"] == "ok"
    client.xadd(f"{name}:streams", {"record": "{}"})
    for _ in range(2):
        client.xadd(f"{name}:a\x1b", {"record": "{}"})
    client.xgroup_create(f"{name}:a\x1b", "readers", id="0")
    client.xgroup_create(project.stream, "streamfea", id="0", mkstream=True)
    found = stream_found()
    assert found["verdict"] == "warning"
    assert found["detail"].startswith(
        f"{project.stream}: no entry so far. Other streams are: {name}:streams (1 entry, no group), "
    )
    assert rf"{name}:a\x1b (2 entries, 1 group)" in found["detail"]
    assert found["remedy"] == "if producers write to one of these, set queues.q.stream"
    worked_off: Any = client.xadd(project.stream, {"record": "{}"})
    client.xdel(project.stream, worked_off)
    assert stream_found() == {
        "what": "queue q: stream", "verdict": "ok", "detail": f"{project.stream}: 0 entries", "remedy": "",
    }  # fmt: skip
