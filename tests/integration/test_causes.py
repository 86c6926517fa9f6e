"""`causes`: why records fail, retried ones and dead letters together; and acting on one cause."""

from collections import Counter

import pytest
from redis import Redis

from tests.support.commands import Project
from tests.support.streams import add, letters, nothing_is_left
from tests.support.waiting import wait_until


@pytest.fixture
def failed(project: Project, client: Redis) -> Project:
    """A queue in which three records failed for good by an error, one was rejected, and two wait for another try."""
    project.configure(max_deliveries=1)
    project.run("initdb")
    add(client, project, *({"n": number, "do": "fail"} for number in range(3)), {"n": 3, "do": "reject"})
    project.run("consume", "--until-empty")
    project.configure(max_deliveries=5, backoff="1h")
    add(client, project, {"n": 4, "do": "fail"}, {"n": 5, "do": "retry", "delay": "1h"})
    with project.consuming() as consumer:
        wait_until(lambda: consumer.log().count("tried again") == 2, "both have failed")
        assert consumer.terminate() == 0
    return project


def test_failures_of_one_cause_are_counted_together(failed: Project) -> None:
    by_error = {row["error"]: row for row in failed.json("causes")}
    assert {error: (row["count"], row["dead"], row["retrying"]) for error, row in by_error.items()} == {
        "asked to fail": (4, 3, 1),
        "asked to reject": (1, 1, 0),
        "asked to wait": (1, 0, 1),
    }
    row = by_error["asked to fail"]
    assert (row["queue"], row["error_type"], row["sample_is"]) == ("q", "ValueError", "dead")
    assert row["where"].startswith("recorder.py:")
    assert row["first_seen"] <= row["last_seen"]
    assert [row["count"] for row in failed.json("causes")] == [4, 1, 1], "most failures first"


def test_what_the_server_counts_is_what_the_letters_say(failed: Project, client: Redis) -> None:
    noted = Counter(letter["streamfea-cause"] for letter in letters(client, failed))
    assert {row["cause"]: row["dead"] for row in failed.json("causes") if row["dead"]} == noted
    assert Counter(row["cause"] for row in failed.json("dead", "list")) == noted


def test_a_person_reads_what_failed_since_when_and_what_to_do(failed: Project) -> None:
    shown = failed.run("causes", columns=80)
    cause = failed.json("causes")[0]["cause"]
    assert "4 × ValueError: asked to fail in recorder.py:" in shown  # noqa: RUF001 - it is what is meant
    assert f"q, cause {cause}: 3 dead, 1 retrying" in shown
    assert f"streamfea dead replay q --cause {cause}" in shown
    assert f"streamfea retry q --cause {cause}" in shown
    assert " UTC, last 20" in shown


def test_only_what_failed_lately_is_counted_on_request(failed: Project, client: Redis) -> None:
    assert failed.json("causes", "--since", "1h") == failed.json("causes")
    assert failed.json("causes", "--since", "1ms") == []
    assert "Nothing has failed in q." in failed.run("causes", "--since", "1ms")


def test_dead_letters_of_a_cause_are_listed_replayed_and_thrown_away(failed: Project, client: Redis) -> None:
    fail, *_ = failed.json("causes")
    reject = next(row for row in failed.json("causes") if row["error"] == "asked to reject")
    assert len(failed.json("dead", "list", "q", "--cause", fail["cause"])) == 3
    assert len(failed.json("dead", "list", "q", "--cause", fail["cause"][:6].upper())) == 3, "its beginning will do"
    failed.run("dead", "purge", "q", "--cause", reject["cause"], "--yes")
    failed.run("dead", "replay", "q", "--cause", fail["cause"])
    assert letters(client, failed) == []
    assert client.xlen(failed.stream) >= 3


def test_entries_of_a_cause_are_tried_again_and_no_others(failed: Project, client: Redis) -> None:
    waiting = {row["error"]: row for row in failed.json("causes") if row["retrying"]}
    assert "1 entry is due now" in failed.run("retry", "q", "--cause", waiting["asked to wait"]["cause"])
    due = {row["error"]: row["due_in_ms"] for row in failed.json("pending")}
    assert due["Retry: asked to wait"] <= 0
    assert due["ValueError: asked to fail"] > 1_000_000


def test_what_killed_its_worker_has_a_cause(project: Project, client: Redis) -> None:
    project.configure(max_deliveries=1)
    add(client, project, {"n": 1, "do": "exit"})
    client.xadd(project.stream, {"other": "no record"})
    project.run("consume", "--until-empty", "--create-tables")
    assert {row["error_type"] for row in project.json("causes")} == {"ProcessDied", "NoRecord"}
    assert nothing_is_left(client, project)


def test_a_cause_that_is_none_is_refused(failed: Project) -> None:
    said = failed.run("retry", "q", "--cause", "celsius", expect=2)
    assert "'celsius' is no cause: `streamfea causes` lists them" in said.replace("\n", " ")
    assert "which entries are meant?" in failed.run("retry", "q", "--all", "--cause", "12", expect=2)
