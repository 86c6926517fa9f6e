"""What the person on call sees of trouble: true figures, the worst first, and the next command."""

import json
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest
import tomli_w
from redis import Redis

from streamfea.core.group_ref import GroupRef
from streamfea.streams.connection.keys import dead_letters_key, errors_key, name_lock_key
from streamfea.streams.consuming.name_lock import NameHolder
from streamfea.streams.operating.members import members
from streamfea.streams.operating.status import queue_status
from tests.support.commands import Project
from tests.support.forked import on_terminal, run
from tests.support.queues import NO_PROCESS, dead_name, queue_of, ref_of
from tests.support.waiting import wait_until

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def configure_queues(project: Project, queues: dict[str, dict[str, object]]) -> None:
    settings = {"redis": project._redis, "database": project._database, "queues": queues}
    project.config.write_text(tomli_w.dumps(settings))


def test_only_consumers_that_live_are_counted(lone: Project, client: Redis) -> None:
    client.xgroup_create(lone.stream, "streamfea", id="0", mkstream=True)
    client.xadd(lone.stream, {"record": "{}"})
    client.xgroup_createconsumer(lone.stream, "streamfea", dead_name())
    client.xgroup_createconsumer(lone.stream, "streamfea", "other-host.example-7-1-gone")
    [figures] = json.loads(run(lone, "status", "--json"))
    assert figures["consumers"] == 0
    told = run(lone, "status", "--fail-no-worker", expect=3)
    assert "q: 1 record waits and no worker runs: streamfea consume q" in told
    assert "Error: queue q: no worker runs" in told


def test_a_worker_is_known_by_its_own_process(project: Project, client: Redis, rows: Callable[[], list[int]]) -> None:
    client.xadd(project.stream, {"record": json.dumps({"n": 1, "do": "slow", "seconds": 60})})
    with project.consuming() as consumer:
        wait_until(lambda: any(one.pending for one in members(client, ref_of(project.stream))), "it runs")
        [worker] = consumer.workers()
        [member] = members(client, ref_of(project.stream))
        assert (member.pid, member.alive, member.has_ended) == (worker.pid, "yes", False)
        consumer.process.kill()
        worker.kill()
        wait_until(lambda: not worker.is_running(), "it is gone")
        [member] = members(client, ref_of(project.stream))
        assert (member.alive, member.has_ended) == ("no", True)
        [entry] = project.json("pending")
        assert entry["state"] == "stranded"


def test_a_process_of_another_pid_namespace_is_not_looked_for_here(lone: Project, client: Redis) -> None:
    client.xgroup_create(lone.stream, "streamfea", id="0", mkstream=True)
    client.xgroup_createconsumer(lone.stream, "streamfea", "boxed")
    boxed = NameHolder(socket.gethostname(), NO_PROCESS, "token", "1")
    client.set(name_lock_key(ref_of(lone.stream), "boxed"), str(boxed))
    [member] = members(client, ref_of(lone.stream))
    assert (member.alive, member.pid, member.has_ended) == ("yes", NO_PROCESS, False)


def test_the_record_that_runs_is_told_from_those_of_its_batch(project: Project, client: Redis) -> None:
    for number in range(20):
        client.xadd(project.stream, {"record": json.dumps({"n": number})})
    hanging: Any = client.xadd(project.stream, {"record": json.dumps({"n": 20, "do": "hang"})})
    for number in range(21, 40):
        client.xadd(project.stream, {"record": json.dumps({"n": number})})
    project.configure(claim_idle="3s")
    with project.consuming() as consumer:
        wait_until(lambda: any(one["running_ms"] for one in project.json("pending")), "it says what it runs")
        [worker] = consumer.workers()
        entries = project.json("pending")
        assert {one["pid"] for one in entries} == {worker.pid}
        assert [one["id"] for one in entries if one["running_ms"] is not None] == [hanging.decode()]
        told = project.run("pending", columns=80)
        assert re.search(rf"in-flight +runs [0-9.]+s, pid {worker.pid} ", told)
        assert len(re.findall(r"in-flight +in its batch ", told)) == len(entries) - 1


def test_the_age_of_what_is_not_delivered_counts(lone: Project, client: Redis) -> None:
    client.xadd(lone.stream, {"record": "{}"}, id="1-1")
    told = run(lone, "status", "--fail-age", "2s", expect=3)
    assert "Error: queue q: the oldest entry waits for" in told
    assert "longer than 2.0s" in told
    [figures] = json.loads(run(lone, "status", "--json"))
    assert figures["lag_ms"] > 2000
    assert figures["oldest_pending_ms"] is None


def test_a_threshold_says_which_queue_passed_it_and_by_what(lone: Project, client: Redis) -> None:
    for _ in range(4):
        client.xadd(dead_letters_key(ref_of(lone.stream)), {"record": "{}"})
    run(lone, "status", "--fail-dead", "4")
    assert "Error: queue q: 4 dead letters, more than 3" in run(lone, "status", "--fail-dead", "3", expect=3)


def test_what_waits_for_a_retry_shows_its_true_idle_time_and_when_it_is_due(project: Project, client: Redis) -> None:
    project.configure(backoff="1h", claim_idle="60s")
    client.xadd(project.stream, {"record": '{"n": 1, "do": "fail"}'})
    with project.consuming() as consumer:
        wait_until(lambda: client.hlen(errors_key(ref_of(project.stream))), "it has failed")
        wait_until(lambda: "will be tried again" in consumer.log(), "it says so")
        assert "queue=q" in consumer.log()
        assert "where=recorder.py:" in consumer.log()
        assert re.search(r"look='streamfea show q [0-9-]+'", consumer.log())
        consumer.terminate()
    [entry] = project.json("pending")
    assert entry["state"] == "retrying"
    assert 3_500_000 < entry["due_in_ms"] < 3_600_000
    assert entry["idle_ms"] <= entry["age_ms"]
    assert re.fullmatch(r"recorder\.py:\d+", entry["where"])
    assert "due in 59m" in project.run("pending")


def test_one_queues_trouble_does_not_hide_the_others(lone: Project, client: Redis, name: str) -> None:
    client.set(f"{name}:text", "no list")
    client.set(f"{name}:no-stream", "no stream")
    client.xadd(f"{name}:good", {"record": "{}"})
    configure_queues(
        lone,
        {
            "good": {"handler": "recorder", "stream": f"{name}:good"},
            "fed": {"handler": "recorder", "stream": f"{name}:fed", "legacy_list": f"{name}:text"},
            "broken": {"handler": "recorder", "stream": f"{name}:no-stream"},
        },
    )
    told = run(lone, "status", expect=1)
    assert f"Error: queue fed: legacy_list {name}:text: WRONGTYPE" in told
    assert f"Error: queue broken: stream {name}:no-stream: WRONGTYPE" in told
    assert re.search(r"^good +1 +1 ", told, re.MULTILINE)
    (lone.folder / "stderr").unlink()
    listed = {one["queue"]: one for one in json.loads(run(lone, "status", "--json", expect=1).partition("Error")[0])}
    assert (listed["good"]["lag"], listed["good"]["error"]) == (1, None)
    assert listed["broken"]["lag"] is None


def test_a_terminal_shows_queues_in_trouble_first_and_what_is_wrong(lone: Project, client: Redis, name: str) -> None:
    queues: dict[str, dict[str, object]] = {
        f"q{number:03}": {"handler": "recorder", "stream": f"{name}:{number}"} for number in range(100)
    }
    configure_queues(lone, queues)
    client.xadd(dead_letters_key(GroupRef(f"{name}:77", "streamfea")), {"record": "{}"})
    client.xadd(f"{name}:98", {"record": "{}"})
    lines = _COLOURS.sub("", on_terminal(lone, "status")).splitlines()
    assert lines[1].startswith("q098")
    assert lines[2].startswith("q077")
    assert any(line.startswith("100 queues") for line in lines)
    assert any("more, nothing wrong in them" in line for line in lines)
    assert "q077: 1 dead letter: streamfea dead list q077" in [line.rstrip() for line in lines]
    assert len(lines) <= 24
    assert len(run(lone, "status").splitlines()) > 100


@pytest.mark.core
def test_figures_are_of_one_moment(client: Redis, name: str) -> None:
    client.xgroup_create(name, "streamfea", id="0", mkstream=True)
    client.hset(errors_key(ref_of(name)), "1-1", "{}")  # of an entry that somebody else has acknowledged
    figures = queue_status(client, queue_of(name))
    assert figures.retrying <= figures.pending


def test_errors_are_counted_by_type_and_line_over_everything(lone: Project, client: Redis) -> None:
    frames = 'Traceback (most recent call last):\n  File "/x/shop.py", line {}, in process\n'
    letters = [("KeyError", f"'sku-{number}'", 17) for number in range(150)]
    letters += [("ValueError", "dear", 19)] * 200
    for kind, error, line in letters:
        fields: dict[Any, Any] = {
            "streamfea-error-type": kind, "streamfea-error": error, "streamfea-traceback": frames.format(line),
        }  # fmt: skip
        client.xadd(dead_letters_key(ref_of(lone.stream)), fields)
    told = run(lone, "dead", "list", columns=120)
    counts = [line.split()[:2] for line in told.partition("count")[2].splitlines()[1:] if line.strip()]
    assert counts == [["200", "shop.py:19"], ["150", "shop.py:17"]]


def test_a_terminal_is_spared_ten_megabytes(lone: Project, client: Redis) -> None:
    entry_id: Any = client.xadd(lone.stream, {"record": b"x" * 10_000_000})
    shown = on_terminal(lone, "show", "q", entry_id.decode())
    assert len(shown) < 100_000
    assert "9,960,000 more characters" in shown
    assert len(run(lone, "show", "q", entry_id.decode())) > 10_000_000
