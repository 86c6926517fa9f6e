"""The figures of queues for Prometheus: what they are, how few commands they take, and what a fault costs."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from streamfea.admin.queue_figures import QueueFigures
from streamfea.admin.status import Unreadable
from streamfea.embedded import ensure_valkey, stop
from streamfea.streams.connection.keys import dead_letters_key, errors_key
from streamfea.streams.operating.dead_reasons import DeadReasons
from streamfea.streams.operating.status import QueueStatus
from tests.support.commands import Project
from tests.support.promtool import promtool
from tests.support.queues import consumer_of, queue_of, ref_of
from tests.support.scraping import get, scraped, verdict
from tests.support.servers import free_port
from tests.support.streams import add
from tests.support.waiting import wait_until

_CLAIM_IDLE_MS = 60_000


def bury(client: Any, stream: str, *reasons: str) -> list[Any]:
    """Add dead letters for these reasons, of entries that have a field called likewise; return their ids."""
    key, own = dead_letters_key(ref_of(stream)), ("streamfea-reason", "theirs")
    return [
        client.execute_command("XADD", key, "*", *own, "streamfea-entry-id", "1-1", "streamfea-reason", reason)
        for reason in reasons
    ]


def deliver(client: Redis, stream: str, number: int) -> list[Any]:
    """Have a consumer read so many new entries; return their ids."""
    group = consumer_of(client, stream, "c")
    group.create()
    ids = [client.xadd(stream, {"record": "{}"}) for _ in range(number)]
    client.xreadgroup("streamfea", "c", {stream: ">"})
    return ids


def commands_run(client: Redis) -> int:
    """Return how many commands the server has run, this question included."""
    return int(client.info("stats")["total_commands_processed"]) + 1


def printed(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def own_client(own_valkey: Path) -> Iterator[Redis]:
    """A client of a Redis that nobody else uses."""
    with Redis.from_url(ensure_valkey(own_valkey), protocol=2) as client:
        yield client


def test_the_figures_are_those_of_status_and_dead_letters_come_by_reason(lone: Project, client: Redis) -> None:
    deliver(client, lone.stream, 3)
    add(client, lone, {"n": 1}, {"n": 2})
    bury(client, lone.stream, "failed", "failed", "timeout")
    [status] = lone.json("status")
    figures = printed(lone.run("metrics", "--once"))
    assert figures["streamfea_queue_up", "q"] == 1
    assert figures["streamfea_queue_lag_entries", "q"] == status["lag"] == 2
    assert figures["streamfea_queue_pending_entries", "q"] == status["pending"] == 3
    assert figures["streamfea_queue_backlog_entries", "q"] == status["backlog"] == 2
    assert figures["streamfea_queue_consumers", "q"] == status["consumers"] == 1
    assert figures["streamfea_queue_lag_seconds", "q"] >= status["lag_ms"] / 1000 > 0
    assert figures["streamfea_queue_oldest_pending_seconds", "q"] >= status["oldest_pending_ms"] / 1000 > 0
    by_reason = {name[2]: value for name, value in figures.items() if name[0] == "streamfea_queue_dead_entries"}
    assert by_reason == {"rejected": 0, "failed": 2, "crashed": 0, "timeout": 1, "no-record": 0}


def test_the_backlog_is_what_waits_for_a_worker_and_counts_nothing_twice(client: Redis, name: str) -> None:
    held, due, failed, failed_and_due = deliver(client, name, 4)
    for entry_id in (due, failed_and_due):
        client.xclaim(name, "streamfea", "c", 0, [entry_id], idle=_CLAIM_IDLE_MS, justid=True)
    for entry_id in (failed, failed_and_due, b"1-1"):
        client.hset(errors_key(ref_of(name)), entry_id, "{}")
    client.xadd(name, {"record": "{}"})
    [seen] = QueueFigures(client, [queue_of(name)]).read()
    assert isinstance(seen.figures, QueueStatus)
    assert (seen.figures.pending, seen.figures.retrying) == (4, 2)
    assert seen.figures.backlog == 4, f"all but {held!r}"


def test_a_broken_key_costs_its_own_figures_only(lone: Project, client: Redis) -> None:
    add(client, lone, {"n": 1})
    broken, odd = f"{lone.stream}:text", f"{lone.stream}:odd"
    client.set(broken, "text")
    client.set(dead_letters_key(ref_of(odd)), "text")
    queues = {"q": lone.stream, "broken": broken, "odd": odd}
    lone.configure_queues({queue: {"handler": "recorder", "stream": stream} for queue, stream in queues.items()})
    figures = printed(lone.run("metrics", "--once", expect=1))
    assert [figures["streamfea_queue_up", queue] for queue in queues] == [1, 0, 0]
    assert {name[1] for name in figures if name[0] == "streamfea_queue_lag_entries"} == {"q"}
    assert figures["streamfea_queue_lag_entries", "q"] == 1


def test_reasons_are_counted_again_when_letters_were_removed(client: Redis, name: str) -> None:
    reasons = DeadReasons(client, ref_of(name))
    ids = bury(client, name, *["failed"] * 30, "rejected")
    assert reasons.update(10)
    assert reasons.counts == {"failed": 30, "rejected": 1}
    before = reasons.commands
    bury(client, name, "crashed", "made up")
    assert reasons.update(10)
    assert reasons.counts == {"failed": 30, "rejected": 1, "crashed": 1, "unknown": 1}
    assert reasons.commands - before == 3, "only what is new is read"
    client.xdel(dead_letters_key(ref_of(name)), *ids[:29])
    bury(client, name, *["timeout"] * 29)
    assert reasons.update(10)
    assert reasons.counts == {"failed": 1, "rejected": 1, "crashed": 1, "unknown": 1, "timeout": 29}
    client.delete(dead_letters_key(ref_of(name)))
    assert reasons.update(10)
    assert reasons.counts == {}


def test_very_many_dead_letters_are_counted_a_part_at_a_time(client: Redis, name: str) -> None:
    bury(client, name, *["failed"] * 200)
    reasons = DeadReasons(client, ref_of(name))
    assert not reasons.update(2)
    assert reasons.counts == {}, "nothing is told before all is counted"
    assert reasons.update(3)
    assert reasons.counts == {"failed": 200}


class _After:
    """Ends after some waits, of which it waits for none, and adds them up."""

    def __init__(self, waits: int) -> None:
        self._left = waits
        self.seconds = 0.0

    def wait(self, timeout: float) -> bool:
        self.seconds += timeout
        self._left -= 1
        return self._left < 0


def test_two_hundred_queues_take_fewer_than_twenty_commands_a_second(own_client: Redis) -> None:
    queues = [queue_of(f"s{number}").model_copy(update={"name": f"q{number}"}) for number in range(200)]
    for queue in queues:
        deliver(own_client, queue.stream, 2)
        own_client.xadd(queue.stream, {"record": "{}"})
        own_client.hset(errors_key(queue.ref), "1-1", "{}")
        bury(own_client, queue.stream, "failed")
    figures = QueueFigures(own_client, queues)
    figures.read()  # which loads the scripts
    taken, ran, after = figures.commands, commands_run(own_client), _After(waits=51)
    figures.keep_up(after)
    taken, ran = figures.commands - taken, commands_run(own_client) - ran
    assert taken == ran - 1, "what is counted is what Redis counts, without the question itself"
    assert taken <= 200 * 12, "of queues for which there is something to tell of everything"
    assert taken / after.seconds < 20
    assert len(figures.seen) == 200


def test_an_idle_queue_takes_five_commands_at_a_look(own_client: Redis) -> None:
    own_client.xack("s", "streamfea", *deliver(own_client, "s", 1))
    bury(own_client, "s", "failed")
    figures = QueueFigures(own_client, [queue_of("s")])
    figures.read()
    before = figures.commands
    figures.keep_up(_After(waits=2))
    assert figures.commands - before == 5


def test_letters_that_took_the_place_of_others_are_counted_after_some_rounds(client: Redis, name: str) -> None:
    [letter] = bury(client, name, "failed")
    figures = QueueFigures(client, [queue_of(name)])
    assert figures.read()[0].reasons == {"failed": 1}
    client.xdel(dead_letters_key(ref_of(name)), letter)
    bury(client, name, "crashed")
    figures.keep_up(_After(waits=2 * 6))
    assert figures.seen[0].reasons == {"crashed": 1}


def test_the_exporter_outlives_redis(tmp_path: Path, own_valkey: Path) -> None:
    url = ensure_valkey(own_valkey)
    project = Project(tmp_path / "project", url, "postgresql+psycopg://nobody@127.0.0.1:1/nowhere", "s")
    port = free_port()
    with project.consuming("--listen", f"127.0.0.1:{port}", command="exporter") as exporter:
        wait_until(lambda: verdict(port, "/healthz") == (200, []), "it answers")
        wait_until(lambda: scraped(port).get(("streamfea_queue_up", "q")) == 1, "the queue is there")
        stop(own_valkey)
        wait_until(lambda: scraped(port)["streamfea_queue_up", "q"] == 0, "it is away")
        assert verdict(port, "/readyz")[0] == 503
        assert verdict(port, "/healthz") == (200, []), "to restart it helps nobody"
        assert ("streamfea_queue_lag_entries", "q") not in scraped(port)
        ensure_valkey(own_valkey)
        wait_until(lambda: scraped(port)["streamfea_queue_up", "q"] == 1, "it is back")
        assert verdict(port, "/readyz") == (200, [])
        assert "there is /metrics" in get(port, "/")[2]
        assert exporter.terminate() == 0


def test_a_server_that_is_away_leaves_every_queue_without_figures(tmp_path: Path, own_valkey: Path) -> None:
    url = ensure_valkey(own_valkey)
    project = Project(tmp_path / "project", url, "postgresql+psycopg://nobody@127.0.0.1:1/nowhere", "s")
    with Redis.from_url(url, protocol=2) as client:
        figures = QueueFigures(client, [queue_of("s")])
        assert figures.read()[0].figures.error is None
        stop(own_valkey)
        [seen] = figures.read()
    assert isinstance(seen.figures, Unreadable)
    assert figures.problem
    assert printed(project.run("metrics", "--once", expect=1)) == {
        ("streamfea_queue_up", "q"): 0,
        ("streamfea_exporter_redis_commands_total",): 0,
    }


def test_mistakes_are_told_in_a_line(lone: Project) -> None:
    assert "--once" in lone.run("metrics", expect=2)
    assert "--listen is HOST:PORT" in lone.run("exporter", "--listen", "9191", expect=2)
    assert "--listen: cannot listen at" in lone.run("exporter", "--listen", "203.0.113.1:1", expect=2)


@pytest.mark.xdist_group("promtool")
def test_promtool_finds_nothing_to_complain_of(lone: Project, client: Redis) -> None:
    bury(client, lone.stream, "failed")
    text = lone.run("metrics", "--once")
    checked = subprocess.run([promtool(), "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_status_lists_every_queue_while_redis_is_away_and_says_so_once(tmp_path: Path) -> None:
    nowhere = "postgresql+psycopg://nobody@127.0.0.1:1/nowhere"
    project = Project(tmp_path / "project", "redis://127.0.0.1:1", nowhere, "s")
    project.configure_queues({name: {"handler": "recorder", "stream": name} for name in ("a", "b")})
    shown = project.run("status", expect=1)
    assert [line.split()[0] for line in shown.splitlines()[1:3]] == ["a", "b"]
    assert shown.count("Redis: ") == 1
    listed = project.json("status", expect=1)
    assert [(one["queue"], one["lag"]) for one in listed] == [("a", None), ("b", None)]
    assert all(one["error"].startswith("Redis: ") for one in listed)
