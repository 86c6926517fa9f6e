"""Handlers written for Azafea, by the import alone."""

import json

import pytest

from tests.support.commands import HANDLERS
from tests.support.places import Place

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


_COMMITS = """
import json, logging
import sqlalchemy as sa
from sqlalchemy.orm import relationship
from streamfea.model import Base

log = logging.getLogger(__name__)


class Machine(Base):
    __tablename__ = "machine"
    id = sa.Column(sa.Integer, primary_key=True)


class Event(Base):
    __tablename__ = "event"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.Unicode, nullable=False)
    machine_id = sa.Column(sa.ForeignKey("machine.id"))
    machine = relationship(Machine)


def process(dbsession, record):
    event = Event(name=json.loads(record)["name"], machine=Machine())
    dbsession.add(event)
    log.info("Before:\\n%s", event)
    dbsession.commit()
    log.info("After:\\n%s", event)


def register_commands(subs):
    replay = subs.add_parser("replay", help="Replay.")
    replay.set_defaults(subcommand=print)
"""


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_an_object_is_printed_whole_after_the_handlers_own_commit(place: Place, guarantee: str) -> None:
    place.handler(_COMMITS, guarantee=guarantee)
    place.put({"name": "a"})
    with place.project.consuming(
        "--until-empty", "--create-tables", "--workers", "0", cwd=place.project.folder
    ) as consumer:
        assert consumer.process.wait(60) == 0
    told = consumer.log()
    assert "[events] Before:\n    # events.Event\n    * machine: new\n    * name: a\n" in told
    assert (
        "[events] After:\n    # events.Event\n    * id: 1\n    * machine: 1\n    * machine_id: 1\n    * name: a\n"
        in told
    )


def test_commands_for_argparse_are_told_and_break_nothing_else(place: Place) -> None:
    place.handler(_COMMITS)
    config = place.project.config.read_text()
    place.project.config.write_text(f'{config}[queues.whole]\nhandler = "commander"\n')
    for name in ("commander.py", "recorder.py"):
        (place.project.folder / name).write_text((HANDLERS / name).read_text())
    events, whole = json.loads(place.run("handlers", "--json"))
    assert "asks for .add_parser() of argparse, as Azafea's did" in events["problem"]
    assert whole["commands"] == ["add", "count-all"]
    place.run("initdb")
    found = {one["what"]: one for one in json.loads(place.run("check", "--json"))}
    assert found["queue q: commands"]["verdict"] == "warning"
    assert "docs/migrating-from-azafea.md" in found["queue q: commands"]["remedy"]
