"""What a worker tells its observers: an event for a transaction, none for a record."""

import re
from collections.abc import Callable, Mapping

import pytest
from redis import Redis

from tests.support.commands import Project
from tests.support.streams import add

_WRITE_DOWN = """
import sys
from streamfea.observe.log_observer import LogObserver
tell = LogObserver.__call__
def write_down(self, event):
    print("EVENT", event, file=sys.stderr, flush=True)
    tell(self, event)
LogObserver.__call__ = write_down
"""


@pytest.fixture
def told(project: Project, client: Redis) -> Callable[..., list[str]]:
    def told(*records: Mapping[str, object]) -> list[str]:
        add(client, project, *records)
        with project.consuming("--until-empty", prelude=_WRITE_DOWN) as consumer:
            assert consumer.process.wait(60) == 0
        return re.findall(r"^EVENT (.*)$", consumer.log(), re.MULTILINE)

    return told


def test_a_hundred_records_are_a_few_events(told: Callable[..., list[str]], project: Project) -> None:
    project.run("initdb")
    events = told(*({"n": number} for number in range(100)))
    committed = [event for event in events if event.startswith("BatchCommitted")]
    assert sum(len(re.findall(r"\d{13}-\d+", event)) for event in committed) == 100, "an id for each that is done"
    assert len(events) < 50
    assert events[0].startswith("WorkerStarted(queue='q'")
    assert re.fullmatch(r"WorkerStopped\(queue='q', committed=100, seconds=[\d.]+\)", events[-1])


def test_a_failing_record_is_postponed_claimed_and_buried(told: Callable[..., list[str]], project: Project) -> None:
    project.configure(max_deliveries=2, backoff="100ms")
    project.run("initdb")
    events = told({"n": 1, "do": "fail"})
    kinds = [event.partition("(")[0] for event in events]
    assert [kind for kind in kinds if kind.startswith(("Records", "EntriesClaimed"))] == [
        "RecordsPostponed",
        "EntriesClaimed",
        "RecordsBuried",
    ]
    [buried] = [event for event in events if event.startswith("RecordsBuried")]
    assert "then='failed'" in buried
