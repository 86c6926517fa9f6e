"""A handler's `process_batch()` gets whole batches, and yet each record is on its own when one of them is bad."""

import json
from collections.abc import Iterator

import pytest
from redis import Redis
from sqlalchemy import create_engine, text

from tests.support.commands import Project
from tests.support.streams import letters, nothing_is_left


@pytest.fixture
def batches(project: Project, database_url: str) -> Iterator["Batches"]:
    batches = Batches(project, database_url)
    batches.configure()
    yield batches
    batches.engine.dispose()


class Batches:
    def __init__(self, project: Project, database_url: str) -> None:
        self.project = project
        self.engine = create_engine(database_url)

    def configure(self, **more: object) -> None:
        self.project.configure("batcher", max_deliveries=1, **more)

    def consume(self, client: Redis, *records: object) -> list[tuple[int, int]]:
        """Return the number of each row, and how many records its batch had."""
        for record in records:
            client.xadd(self.project.stream, {"record": record if isinstance(record, str) else json.dumps(record)})
        self.project.run("consume", "--until-empty")
        with self.engine.connect() as connection:
            rows = connection.execute(text("SELECT number, pid FROM seen ORDER BY id"))
            return [(row.number, row.pid) for row in rows]


def test_a_good_batch_is_given_whole(batches: Batches, client: Redis) -> None:
    rows = batches.consume(client, *({"n": number} for number in range(6)))
    assert rows == [(0, 1), *((number, 5) for number in range(1, 6))]  # a worker takes one record to begin with


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
@pytest.mark.parametrize("by", ["add", "add_all", "add and flush", "add and commit", "add and query"])
def test_every_way_to_write_the_rows_of_a_batch_writes_them(
    batches: Batches, client: Redis, by: str, guarantee: str
) -> None:
    batches.configure(guarantee=guarantee)
    batches.project.run("initdb")
    rows = batches.consume(client, *({"n": number, "by": by} for number in range(6)))
    assert rows == [(0, 1), *((number, 5) for number in range(1, 6))]
    assert nothing_is_left(client, batches.project)


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_what_a_handler_rolls_back_is_not_written(batches: Batches, client: Redis, guarantee: str) -> None:
    batches.configure(guarantee=guarantee)
    batches.project.run("initdb")
    records = [{"n": number, "by": "add and roll back every second"} for number in range(6)]
    assert batches.consume(client, *records) == [(0, 1), (5, 5)]  # a worker takes one record to begin with


@pytest.mark.parametrize("do", ["fail", "reject"])
def test_of_a_bad_batch_each_record_is_on_its_own(batches: Batches, client: Redis, do: str) -> None:
    rows = batches.consume(client, {"n": 0}, {"n": 1, "do": do}, {"n": 2})
    assert rows == [(0, 1), (2, 1)]
    [letter] = letters(client, batches.project)
    assert (json.loads(letter["record"])["n"], letter["streamfea-error"]) == (1, f"asked to {do}")
    assert nothing_is_left(client, batches.project)


def test_a_record_that_cannot_be_decoded_does_not_cost_the_others_their_batch(batches: Batches, client: Redis) -> None:
    rows = batches.consume(client, {"n": 9}, {"n": 0}, '{"n": "one"}', {"n": 2})
    assert rows == [(9, 1), (0, 2), (2, 2)]  # a worker takes one record to begin with
    [letter] = letters(client, batches.project)
    assert letter["streamfea-reason"] == "rejected"
