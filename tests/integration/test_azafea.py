"""Handlers written for Azafea, by the import alone."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine, create_engine, text

from tests.commands import Project

_EVENTS = """
import json
from collections.abc import Iterator
import sqlalchemy as sa
from streamfea.model import Base, DbSession, NullableBoolean, View


class Event(Base):
    __tablename__ = "event"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.Unicode, nullable=False)
    known = sa.Column(NullableBoolean, nullable=False)


class Strict(Base):
    __tablename__ = "strict"
    __unknown_keys__ = "reject"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.Unicode, nullable=False)


def process(dbsession: DbSession, record: bytes) -> None:
    values = json.loads(record)
    dbsession.add((Strict if "strict" in values else Event)(**values))
"""


class Place:
    """A folder with a handler `events`, and the commands run in it."""

    def __init__(self, project: Project, client: Redis, engine: Engine) -> None:
        self.project = project
        self.engine = engine
        self._client = client

    def handler(self, source: str, **keys: object) -> None:
        (self.project.folder / "events.py").write_text(source)
        self.project.configure("events", **keys)

    def run(self, *arguments: str, expect: int = 0) -> str:
        return self.project.run(*arguments, expect=expect, cwd=self.project.folder)

    def put(self, *records: object) -> None:
        for record in records:
            self._client.xadd(self.project.stream, {"record": json.dumps(record)})

    def rows(self, sql: str) -> list[object]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]


@pytest.fixture
def place(tmp_path: Path, redis_url: str, database_url: str, client: Redis, name: str) -> Iterator[Place]:
    engine = create_engine(database_url)
    yield Place(Project(tmp_path, redis_url, database_url, f"{name}:stream"), client, engine)
    engine.dispose()


@pytest.mark.parametrize("bulk", [True, False])
def test_a_nullable_boolean_that_is_none_fails_its_record_alone(place: Place, bulk: bool) -> None:
    place.handler(_EVENTS, bulk=bulk, max_deliveries=1)
    place.run("initdb")
    values: list[object] = [True, "false", None, 7, 0, [], 1, False]
    for number, known in enumerate(values):
        place.put({"name": str(number), "known": known})
    place.put({"name": "unset"})
    place.run("consume", "--until-empty")
    assert place.rows("SELECT name, known::text FROM event ORDER BY id") == [
        ("0", "true"), ("2", "unknown"), ("4", "false"), ("6", "true"), ("7", "false"), ("unset", "unknown"),
    ]  # fmt: skip
    letters = json.loads(place.run("dead", "list", "q", "--json"))
    assert ["'false' is no NullableBoolean" in letters[0]["error"], len(letters)] == [True, 3]


def test_unknown_keys_are_dropped_or_rejected_and_check_says_which(place: Place) -> None:
    place.handler(_EVENTS)
    place.run("initdb")
    place.put({"name": "a", "__class__": "dict", "__dict__": {"name": "z"}, "more": 1})
    place.put({"name": "b", "strict": 1})
    place.run("consume", "--until-empty")
    assert place.rows("SELECT name FROM event UNION ALL SELECT name FROM strict") == [("a",)]
    [letter] = json.loads(place.run("dead", "list", "q", "--json"))
    assert (letter["reason"], letter["error"]) == ("rejected", "Strict has no attribute 'strict'")
    found = json.loads(place.run("check", "--json"))
    [told] = [one["detail"] for one in found if one["what"] == "queue q: unknown keys"]
    assert told == (
        'Event drop them (__unknown_keys__ = "drop"); Strict reject the record (__unknown_keys__ = "reject")'
    )
