"""One stuck entry: shown whole and safely, made due, or given up."""

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from redis import Redis

from streamfea.core.group_ref import GroupRef
from streamfea.streams.connection.keys import dead_letters_key, errors_key
from streamfea.streams.consuming.last_error import LastError
from streamfea.streams.consuming.name_lock import consumer_name
from streamfea.streams.operating.dead_letters import dead_letters
from streamfea.streams.operating.retry_and_reject import consumers_not_at_work, make_due, reject
from tests.support.commands import Project
from tests.support.forked import on_terminal, run
from tests.support.queues import consumer_of, dead_name, queue_of, ref_of
from tests.support.waiting import wait_until

Rows = Callable[[], list[int]]

_HOUR_MS = 3_600_000
_EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\r"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def deliver(client: Redis, stream: str, consumer: str, fields: dict[Any, Any]) -> str:
    """Add an entry and have `consumer` read it; return its id."""
    client.xgroup_create(stream, "streamfea", id="0", mkstream=True) if not client.exists(stream) else None
    entry_id: Any = client.xadd(stream, fields)
    client.xreadgroup("streamfea", consumer, {stream: ">"})
    return str(entry_id.decode())


def fail(client: Redis, stream: str, entry_id: str, *, error: str = "no luck", traceback: str = "") -> None:
    """Note that an entry has failed and waits for an hour."""
    [seconds, _] = client.time()
    last_error = LastError("ValueError", error, traceback).due(
        failed_at_ms=seconds * 1000, due_ms=seconds * 1000 + _HOUR_MS
    )
    client.hset(errors_key(ref_of(stream)), entry_id, last_error.to_json())


def listed(project: Project, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(project, *arguments, "--json"))
    return found


@cache
def live_worker() -> str:
    """Return one name, which is that of this very process."""
    return consumer_name(None, 1)


def claimed_at_once(client: Redis, stream: str) -> list[str]:
    return [one.id for one in consumer_of(client, stream, "next").claim(100)]


def test_an_entry_is_shown_whole_with_its_last_error_and_what_to_do(project: Project, client: Redis) -> None:
    project.configure(backoff="1h")
    record = '{"n": 1, "do": "fail", "price": 2.50, "name": "b\\u00e4r", "big": 12345678901234567890.5}'
    entry_id: Any = client.xadd(project.stream, {"record": record, "source": "till 3", "blob": b"\0\xff" * 20})
    entry_id = entry_id.decode()
    assert "Not delivered yet" in run(project, "show", "q", entry_id)
    with project.consuming() as consumer:
        wait_until(lambda: client.hlen(errors_key(ref_of(project.stream))), "the record has failed")
        consumer.terminate()
    shown = run(project, "show", "q", entry_id)
    assert f"{entry_id} in queue q: retrying" in shown
    assert f"streamfea retry q {entry_id}" in shown
    assert '\n  "price": 2.50,\n  "name": "bär",\n  "big": 12345678901234567890.5\n' in shown
    assert "\nsource: till 3\n" in shown
    assert "blob: 40 bytes, binary" in shown
    assert "00000020  00 ff 00 ff 00 ff 00 ff " in shown
    assert "ValueError: asked to fail\n\nTraceback (most recent call last)" in shown
    assert run(project, "show", "q", entry_id, "--raw") == record
    [told] = listed(project, "show", "q", entry_id)
    assert (told["state"], told["deliveries"], told["error_type"]) == ("retrying", 1, "ValueError")
    assert told["fields"]["record"] == record
    assert told["fields"]["blob"] == {"base64": "AP8A/wD/AP8A/wD/AP8A/wD/AP8A/wD/AP8A/wD/AP8A/wD/AP8A/w=="}


def test_an_entry_is_found_wherever_it_is(lone: Project, client: Redis) -> None:
    done = deliver(client, lone.stream, "c", {"record": "done"})
    client.xack(lone.stream, "streamfea", done)
    held = deliver(client, lone.stream, "c", {"record": "held"})
    buried = deliver(client, lone.stream, "c", {"record": "dead"})
    reject(client, ref_of(lone.stream), queue_of(lone.stream).claim_idle, buried, [])
    [letter] = dead_letters(client, ref_of(lone.stream))
    client.xdel(lone.stream, buried)
    states = {one: listed(lone, "show", "q", one)[0]["state"] for one in (done, held, buried, letter.id)}
    assert states == {done: "acknowledged", held: "in-flight", buried: "dead", letter.id: "dead"}
    assert f"streamfea dead replay q {letter.id}" in run(lone, "show", "q", buried)
    assert "no entry 7-0" in run(lone, "show", "q", "7", expect=1)
    assert "'7-x' is not the id of an entry" in run(lone, "show", "q", "7-x", expect=2)
    assert "18446744073709551616" in run(lone, "show", "q", "18446744073709551616-0", expect=2)


def test_an_entry_is_found_in_whichever_queue_has_it(lone: Project, client: Redis, name: str) -> None:
    client.set(f"{name}:text", "no stream")
    lone.configure_queues(
        {
            "broken": {"handler": "recorder", "stream": f"{name}:text"},
            "other": {"handler": "recorder", "stream": f"{name}:other"},
            "q": {"handler": "recorder", "stream": lone.stream},
            "5": {"handler": "recorder", "stream": f"{name}:5"},
        }
    )
    client.xadd(lone.stream, {"record": "{}"}, id="7-1")
    assert "7-1 in queue q: waiting" in run(lone, "show", "7-1")
    assert [one["queue"] for one in listed(lone, "show", "7-1")] == ["q"]
    assert run(lone, "show", "7-1", "--raw") == "{}"
    told = run(lone, "show", "8-1", expect=1)
    assert "Error: there is no entry 8-1 in any of 4 queues" in told
    assert "queue broken cannot be read: WRONGTYPE" in told
    assert "queue 5: there is no entry 7-1" in run(lone, "show", "5", "7-1", expect=1)
    for wrong in ([], ["q"], ["5"], ["q", "7-1", "7-2"]):
        assert "give one id" in run(lone, "show", *wrong, expect=2)
    assert "there is no queue 'qq'" in run(lone, "show", "qq", "7-1", expect=2)


def test_a_dead_letter_is_found_in_whichever_queue_has_it(lone: Project, client: Redis, name: str) -> None:
    queues = {one: {"handler": "recorder", "stream": f"{name}:{one}"} for one in ("a", "b")}
    lone.configure_queues(queues)
    letter: Any = client.xadd(
        dead_letters_key(GroupRef(f"{name}:b", "streamfea")), {"streamfea-entry-id": "7-1", "record": "{}"}
    )
    for one in ("7-1", letter.decode()):
        assert "7-1 in queue b: dead" in run(lone, "dead", "show", one)
        assert [found["queue"] for found in listed(lone, "dead", "show", one)] == ["b"]
    told = run(lone, "dead", "show", "7-1", "8-1", expect=1)
    assert "7-1 in queue b: dead" in told
    assert "Error: there is no dead letter 8-1: `streamfea dead list` shows them" in told
    assert "add ids, or a filter" in run(lone, "dead", "show", expect=2)


def test_nothing_in_a_record_or_an_error_gives_orders_to_a_terminal(lone: Project, client: Redis) -> None:
    fields = {"record": f'{{"text": "{_EVIL}"}}', f"name{_EVIL}": f"value{_EVIL}", "lines": f"a\nb{_EVIL}"}
    entry_id = deliver(client, lone.stream, f"worker{_EVIL}", fields)
    fail(client, lone.stream, entry_id, error=f"error{_EVIL}", traceback=f"Traceback\n  frame{_EVIL}")
    shown = [on_terminal(lone, *command) for command in (("show", "q", entry_id), ("pending",), ("consumers", "list"))]
    told = on_terminal(lone, "show", "q", entry_id, "--raw", expect=1)
    run(lone, "reject", "q", entry_id)
    commands = ("list", "q"), ("show", "q", "--all"), ("replay", "q", "--all", "--dry-run")
    shown += [told, *(on_terminal(lone, "dead", *command) for command in commands)]
    for text in shown:
        left = _COLOURS.sub("", text).replace("\r\n", "\n")
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", left), left
    assert all(r"\x1b]0;owned\x07" in text for text in (*shown[:2], *shown[5:]))


def test_an_entry_that_waits_for_its_back_off_is_run_at_once_on_request(project: Project, client: Redis) -> None:
    project.configure(backoff="1h", max_deliveries=2)
    client.xadd(project.stream, {"record": json.dumps({"n": 1, "do": "fail"})})
    with project.consuming():
        wait_until(lambda: client.hlen(errors_key(ref_of(project.stream))), "the record has failed")
        assert "q: 1 entry is due now." in run(project, "retry", "q", "--all")
        wait_until(lambda: list(dead_letters(client, ref_of(project.stream))), "it has failed again")
    [letter] = dead_letters(client, ref_of(project.stream))
    assert (letter.deliveries, letter.reason) == (2, "failed")


def test_what_a_worker_may_be_running_stays_with_it(lone: Project, client: Redis) -> None:
    held = deliver(client, lone.stream, live_worker(), {"record": "1"})
    failed = deliver(client, lone.stream, live_worker(), {"record": "2"})
    fail(client, lone.stream, failed)
    told = run(lone, "retry", "q", held, expect=1)
    assert f"{held} ({live_worker()}" in told
    assert claimed_at_once(client, lone.stream) == []
    told = run(lone, "retry", "q", "--all")
    assert "1 entry is due now" in told
    assert "stays with its worker" in told
    assert listed(lone, "pending", "--consumer", live_worker())[1]["state"] == "retrying"
    assert claimed_at_once(client, lone.stream) == [failed]
    run(lone, "retry", "q", held, "--force")
    assert claimed_at_once(client, lone.stream) == [held]


def test_what_a_dead_worker_held_is_due_without_waiting_for_claim_idle(client: Redis, name: str) -> None:
    queue = queue_of(name)
    dead, elsewhere = dead_name(), "other-7-1-abcd"
    held = [deliver(client, name, consumer, {"record": "x"}) for consumer in (dead, "somebody", elsewhere)]
    results = [
        one.result
        for one in make_due(
            client, queue.ref, queue.claim_idle, [*held, "7-0"], consumers_not_at_work(client, queue.ref)
        )
    ]
    assert results == ["due", "due", "in hand", "not pending"]
    assert claimed_at_once(client, name) == held[:2]


def test_an_entry_that_runs_alone_is_in_hand_and_keeps_the_note_of_that(client: Redis, name: str) -> None:
    entry_id = deliver(client, name, "gone", {"record": "x"})
    fail(client, name, entry_id)
    list(make_due(client, ref_of(name), queue_of(name).claim_idle, [entry_id], []))
    worker = consumer_of(client, name, live_worker())
    [claimed] = worker.claim(1)
    entry = worker.deliver_alone(claimed)
    assert entry is not None
    note = client.hget(errors_key(ref_of(name)), entry_id)
    [result] = make_due(client, ref_of(name), queue_of(name).claim_idle, [entry_id], [])
    assert result.in_hand
    assert client.hget(errors_key(ref_of(name)), entry_id) == note
    list(make_due(client, ref_of(name), queue_of(name).claim_idle, [entry_id], [live_worker()]))
    [again] = consumer_of(client, name, "next").claim(1)
    assert again.last_error is not None
    assert (again.last_error.alone, again.last_error.error) == (live_worker(), "no luck")


def test_rejected_entries_are_dead_letters_with_their_last_error(lone: Project, client: Redis) -> None:
    failed = deliver(client, lone.stream, "gone", {"record": "1", "also": "this"})
    fail(client, lone.stream, failed, traceback="Traceback\n  frame")
    fresh = deliver(client, lone.stream, live_worker(), {"record": "2"})
    told = run(lone, "reject", "q", failed, fresh, "7-7", failed, expect=1)
    assert "2 entries moved to the dead letters" in told
    assert f"may be running {fresh} ({live_worker()}" in told
    first, second = dead_letters(client, ref_of(lone.stream))
    assert (first.entry_id, first.reason, first.error_type) == (failed, "rejected", "ValueError")
    assert first.fields == {b"record": b"1", b"also": b"this"}
    assert first.traceback == "Traceback\n  frame"
    assert (second.entry_id, second.consumer, second.deliveries) == (fresh, live_worker(), 1)
    assert second.error_type == "RejectedByOperator"
    assert client.xpending(lone.stream, "streamfea")["pending"] == 0
    assert not client.exists(errors_key(ref_of(lone.stream)))
    assert "7-7 is not pending" in run(lone, "retry", "q", "7-7", expect=1)


def test_an_entry_of_many_fields_is_rejected_whole(lone: Project, client: Redis) -> None:
    fields = {f"name {number}": "value" for number in range(5_000)}
    run(lone, "reject", "q", deliver(client, lone.stream, "gone", fields))
    [letter] = dead_letters(client, ref_of(lone.stream))
    assert letter.fields == {name.encode(): value.encode() for name, value in fields.items()}
    assert client.xpending(lone.stream, "streamfea")["pending"] == 0


def test_an_entry_rejected_while_it_runs_costs_its_worker_nothing(project: Project, client: Redis, rows: Rows) -> None:
    entry_id: Any = client.xadd(project.stream, {"record": json.dumps({"n": 1, "do": "slow", "seconds": 2})})
    with project.consuming():
        wait_until(lambda: listed(project, "pending"), "it runs")
        assert f"may be running {entry_id.decode()}" in run(project, "reject", "q", entry_id.decode())
        client.xadd(project.stream, {"record": '{"n": 2}'})
        wait_until(lambda: rows() == [1, 2], "its run has committed, and the worker goes on")
        wait_until(lambda: not listed(project, "pending"), "nothing is left")
    assert [letter.entry_id for letter in dead_letters(client, ref_of(project.stream))] == [entry_id.decode()]


def test_a_whole_queue_of_pending_entries_is_made_due(lone: Project, client: Redis) -> None:
    for number in range(1000):
        client.xadd(lone.stream, {"record": str(number)})
    client.xgroup_create(lone.stream, "streamfea", id="0")
    client.xreadgroup("streamfea", "somebody", {lone.stream: ">"}, count=900)
    told = run(lone, "retry", "q", "--all")
    assert "900 entries are due now" in told
    assert "run `streamfea consume q`" in told
    run(lone, "retry", "q", expect=2)
    run(lone, "retry", "q", "--all", "7-7", expect=2)


@pytest.mark.parametrize("command", [("show", "q", "1-1"), ("retry", "q", "1-1"), ("reject", "q", "1-1")])
def test_before_there_is_a_stream_or_a_group_no_id_is_known(lone: Project, command: tuple[str, ...]) -> None:
    assert "1-1" in run(lone, *command, expect=1)
