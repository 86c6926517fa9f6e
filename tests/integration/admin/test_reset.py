"""A queue is processed anew: its tables are empty, and every entry unread."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from streamfea.admin.reset import plan_reset, reset
from streamfea.admin.rewind import rewind
from streamfea.config.loading import load_settings
from streamfea.config.sections import Queue
from streamfea.config.settings import Settings
from streamfea.errors import StreamfeaError
from tests.integration.admin.conftest import Deliver
from tests.support.commands import HANDLERS, Project

Rows = Callable[[], list[int]]


@pytest.fixture
def settings(project: Project, client: Redis, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a project that has consumed three records."""
    monkeypatch.syspath_prepend(HANDLERS)
    for number in (1, 2, 3):
        client.xadd(project.stream, {"record": json.dumps({"n": number})})
    project.run("consume", "--until-empty")
    return load_settings(project.config)


def test_a_plan_says_what_will_be_lost_and_the_reset_does_it(
    settings: Settings, client: Redis, engine: Engine, rows: Rows
) -> None:
    client.xadd(settings.queues["q"].stream, {"record": '{"n": 4}'})

    plan = plan_reset(settings, client, engine, "q")
    assert (plan.tables, plan.rows, plan.entries, rows()) == ("seen", 3, 1, [1, 2, 3])

    reset(client, engine, plan)
    assert rows() == []
    assert plan_reset(settings, client, engine, "q").rows == 0


def test_nothing_happens_while_a_consumer_is_at_work(
    settings: Settings, client: Redis, engine: Engine, rows: Rows
) -> None:
    queue = settings.queues["q"]
    plan = plan_reset(settings, client, engine, "q")
    client.xgroup_createconsumer(queue.stream, queue.group, "late")

    for refused in (lambda: plan_reset(settings, client, engine, "q"), lambda: reset(client, engine, plan)):
        with pytest.raises(StreamfeaError) as caught:
            refused()
        assert caught.value.message == "queue q: consumers are at work (late)"
        assert caught.value.remedy.startswith("stop them first")
    assert rows() == [1, 2, 3]


def test_a_group_is_rewound_to_the_beginning_of_its_stream(client: Redis, queue: Queue, deliver: Deliver) -> None:
    ids = deliver("1", "2")
    client.xack(queue.stream, queue.group, *ids)

    rewind(client, queue, force=True)

    replies: Any = client  # redis-py leaves the types of replies open
    [[_, read]] = replies.xreadgroup(queue.group, "next", {queue.stream: ">"})
    assert [entry_id.decode() for entry_id, _ in read] == ids
