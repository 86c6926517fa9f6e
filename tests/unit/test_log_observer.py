"""What the log says of events."""

import pytest
from structlog.testing import capture_logs

from streamfea.observe import events
from streamfea.observe.events import Event, Failure, all_of
from streamfea.observe.log_observer import LogObserver

FAILURE = Failure("1-0", "ValueError", "ValueError: no", "events.py:3", "30s")


def logged(*happened: Event) -> list[dict[str, object]]:
    observer = LogObserver()
    with capture_logs() as lines:
        for event in happened:
            observer(event)
    return [dict(line) for line in lines]


def test_of_failures_of_a_kind_the_first_is_told_at_once_and_others_are_counted() -> None:
    other = Failure("2-0", "KeyError", "KeyError: 'n'", "events.py:4", "30s")
    [first, second] = logged(
        events.RecordsPostponed("q", [FAILURE, FAILURE]), events.RecordsPostponed("q", [FAILURE, other])
    )
    assert first["event"] == second["event"] == "record failed and will be tried again"
    assert (first["entry"], first["error"], first["where"]) == ("1-0", "ValueError: no", "events.py:3")
    assert (first["tried_again_in"], first["look"]) == ("30s", "streamfea show q 1-0")
    assert second["entry"] == "2-0"


def test_further_failures_of_a_kind_are_told_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamfea.observe.log_observer._AGAIN_AFTER_SECONDS", 0.0)
    [_, more] = logged(events.RecordsPostponed("q", [FAILURE]), events.RecordsPostponed("q", [FAILURE]))
    assert (more["event"], more["count"]) == ("more records failed alike", 1)


def test_every_record_that_is_given_up_is_told() -> None:
    lines = logged(events.RecordsBuried("q", [FAILURE, FAILURE]))
    assert [line["event"] for line in lines] == ["record moved to the dead letters"] * 2
    assert lines[0]["reason"] == "30s"


@pytest.mark.parametrize(
    ("event", "level", "text"),
    [
        (events.WorkerStarted("q", "s", "c"), "info", "consuming"),
        (events.WorkerStopped("q", 3, 1.23), "info", "stopped"),
        (events.NameTaken("q", "c", "other"), "warning", "waiting for another process to give up its name"),
        (events.OutageBegan("q", "Redis", "gone"), "warning", "waiting for Redis"),
        (events.OutageEnded("q", "Redis", 2.34), "info", "Redis is back"),
        (events.BatchRepeated("q", "deadlock detected"), "info", "doing a batch again"),
        (events.EntriesHandedOver("q", 3), "info", "handed over to the other consumers"),
        (events.HandOverFailed("q", "why"), "warning", "left without handing over: others take over after claim_idle"),
        (events.EntriesLost("q", 2), "warning", "others have claimed entries that this worker was too slow to keep"),
        (events.TransactionsEnded("q", ["c"]), "warning", "ended the transactions of consumers that have stopped"),
    ],
)
def test_an_event_is_one_line(event: Event, level: str, text: str) -> None:
    [line] = logged(event)
    assert (line["log_level"], str(line["event"]).replace("%s", "Redis")) == (level, text)


def test_transactions_and_claims_are_not_logged() -> None:
    assert (
        logged(
            events.BatchCommitted(
                "q",
                ["1-0"] * 500,
                0,
                0,
                0,
                retried=False,
                committed_at=1.0,
                run_seconds=0.2,
                write_seconds=0.1,
                commit_seconds=0.1,
                settle_seconds=0.1,
            )
        )
        == []
    )
    assert logged(events.EntriesClaimed("q", 3, 1, ["c"])) == []


def test_all_observers_are_told_in_order() -> None:
    told: list[tuple[str, Event]] = []
    event = events.LongRecordsCame("q")
    observe = all_of([lambda one: told.append(("a", one)), lambda one: told.append(("b", one))])
    observe(event)
    assert told == [("a", event), ("b", event)]
