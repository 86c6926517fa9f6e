"""Exactly once where ids come again: a stream that begins anew is another, one whose group is lost is the same."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from streamfea.config.sections import Queue
from streamfea.core.group_ref import GroupRef
from streamfea.database.exactly_once.ledger import LEDGER_TABLES, Ledger
from streamfea.streams.connection.keys import errors_key
from streamfea.streams.consuming.group import GroupConsumer
from streamfea.streams.consuming.marks import MARK_PREFIX, is_mark, join
from streamfea.streams.consuming.reader import Reader
from streamfea.streams.consuming.trim import Trimmer
from tests.support.commands import Project
from tests.support.queues import ref_of
from tests.support.waiting import wait_until

Rows = Callable[[], list[int]]


@pytest.fixture
def project(project: Project) -> Project:
    project.configure(guarantee="exactly-once", retention="keep", claim_idle="1s")
    project.run("initdb")
    return project


@pytest.mark.core
@pytest.mark.parametrize("first", [1, 1_700_000_000_000])
def test_a_stream_that_was_deleted_begins_anew_whatever_its_ids(
    project: Project, client: Redis, rows: Rows, first: int
) -> None:
    for records in (range(5), range(10, 18), range(20, 21)):
        add_with_ids(client, project.stream, records, first)
        project.run("consume", "--until-empty")
        client.delete(project.stream)
    assert rows() == [*range(5), *range(10, 18), 20]


def test_a_stream_that_is_deleted_under_a_workers_feet_begins_anew(project: Project, client: Redis, rows: Rows) -> None:
    done: list[int] = []
    with project.consuming("--workers", "2") as consumer:
        for numbers in (range(5), range(10, 18), range(20, 300), range(300, 310)):
            with client.pipeline(transaction=True) as at_once:
                at_once.delete(project.stream)
                add_with_ids(at_once, project.stream, numbers)
                at_once.execute()
            done += numbers
            wait_until(partial(are_done, client, project.stream, rows, [*done]), "all of it is done and acknowledged")
        assert "the stream began anew" in consumer.log()
        assert consumer.terminate() == 0
    assert sorted(rows()) == done


def test_a_group_that_is_lost_while_the_stream_stays_has_nothing_done_again(
    project: Project, client: Redis, rows: Rows
) -> None:
    add_with_ids(client, project.stream, range(5))
    with project.consuming() as consumer:
        wait_until(lambda: rows() == list(range(5)), "all is done")
        client.xgroup_destroy(project.stream, "streamfea")
        add_with_ids(client, project.stream, range(5, 9), first=6)
        wait_until(lambda: rows() == list(range(9)), "what is new is done, and nothing else")
        assert consumer.terminate() == 0
    assert "the group was gone and is created again" in consumer.log()
    client.xgroup_destroy(project.stream, "streamfea")
    project.run("consume", "--until-empty")
    assert rows() == list(range(9))


def test_a_group_that_was_made_in_advance_does_not_make_a_stream_known(
    project: Project, client: Redis, rows: Rows
) -> None:
    for records in (range(5), range(10, 18), range(20, 25)):
        client.xgroup_create(project.stream, "streamfea", id="0", mkstream=True)
        add_with_ids(client, project.stream, records)
        project.run("consume", "--until-empty")
        client.delete(project.stream)
    assert rows() == [*range(5), *range(10, 18), *range(20, 25)]


def test_a_stream_that_lost_its_mark_is_known_by_ids_that_no_other_can_have(
    project: Project, client: Redis, rows: Rows
) -> None:
    """As on a replica that lags behind, or after an update from a version that made no marks."""
    for number in range(5):
        client.xadd(project.stream, {"record": json.dumps({"n": number})})
    project.run("consume", "--until-empty")
    client.xgroup_destroy(project.stream, marks(client, project.stream)[0])
    client.xgroup_setid(project.stream, "streamfea", "0")
    project.run("consume", "--until-empty")
    assert rows() == list(range(5))
    assert len(marks(client, project.stream)) == 1


def test_a_renamed_stream_takes_along_what_it_is(project: Project, client: Redis, rows: Rows) -> None:
    aside = f"{project.stream}-aside"
    add_with_ids(client, project.stream, range(3))
    project.run("consume", "--until-empty")
    client.rename(project.stream, aside)
    add_with_ids(client, project.stream, range(10, 14))
    project.run("consume", "--until-empty")
    client.rename(aside, project.stream)
    client.xgroup_setid(project.stream, "streamfea", "0")
    project.run("consume", "--until-empty")
    assert rows() == [0, 1, 2, 10, 11, 12, 13]


def test_at_least_once_makes_no_mark(project: Project, client: Redis, rows: Rows) -> None:
    project.configure(guarantee="at-least-once")
    add_with_ids(client, project.stream, range(3))
    project.run("consume", "--until-empty")
    assert marks(client, project.stream) == []


@pytest.mark.core
def test_what_was_read_from_a_stream_that_is_gone_changes_nothing_in_its_successor(client: Redis, name: str) -> None:
    queue = Queue(name="q", handler="h", stream=name, guarantee="exactly-once")
    old, new = (
        GroupConsumer(client, queue.ref, "old", queue.claim_idle),
        GroupConsumer(client, queue.ref, "new", queue.claim_idle),
    )
    reader = Reader(client, old, 1 << 24)
    add_with_ids(client, name, range(2))
    first = old.join().mark
    read = reader.read(10, None)
    client.delete(name)
    add_with_ids(client, name, range(10, 12))
    assert new.join().mark != first
    assert [entry.id for entry in Reader(client, new, 1 << 24).read(1, None)] == ["1-0"]

    reader.acknowledge([entry.id for entry in read])
    assert reader.read(10, None) == []
    reader.confirm()
    old.acknowledge_retried(["1-0"])
    assert old.claim(10) == []
    assert old.bury([(read[0], {})]) == [False]
    assert pending(client, name) == {"1-0": "new", "2-0": "old"}  # nobody knows whose the second was
    assert old.must_join
    assert old.join().mark == new.mark
    assert [one.id for one in old.unseen([], 10)] == ["2-0"]
    assert reader.read(10, None) == []


def test_a_mark_keeps_nothing_from_being_trimmed_and_lets_nothing_go(client: Redis, name: str) -> None:
    add_with_ids(client, name, range(4))
    join(client, ref_of(name))
    client.xgroup_destroy(name, "streamfea")
    assert sum(Trimmer(client, GroupRef(name, "")).trim_all()) == 0
    client.xgroup_create(name, "streamfea", id="2-0")
    assert sum(Trimmer(client, GroupRef(name, "")).trim_all()) == 2


def test_a_stream_that_begins_anew_has_no_errors_of_its_predecessor(client: Redis, name: str) -> None:
    queue = Queue(name="q", handler="h", stream=name, guarantee="exactly-once")
    group = GroupConsumer(client, queue.ref, "c", queue.claim_idle)
    group.join()
    client.hset(errors_key(ref_of(name)), "1-0", "{}")
    client.delete(name)
    group.join()
    assert not client.exists(errors_key(ref_of(name)))


def test_rows_of_a_stream_that_is_gone_are_pruned_and_those_of_its_successor_are_not(ledgers: "Ledgers") -> None:
    hour, nothing = timedelta(hours=1), timedelta(0)
    for mark in (7, 8, 9):
        ledgers.enter(mark, ["1-0", "2-0"])
    ledgers.enter(9, ["3-0"], group="other")
    assert ledgers.prune(9, hour) == 0
    assert ledgers.count() == 7
    assert ledgers.prune(9, nothing) == 2
    assert ledgers.prune(9, nothing) == 2  # the next one, whose time begins now
    assert ledgers.prune(9, nothing) == 0
    assert ledgers.count() == 3
    ledgers.enter(7, ["1-0", "5-0"])
    ledgers.prune(9, hour)
    assert ledgers.prune(7, hour) == 0  # it is back
    assert ledgers.count() == 5


def test_a_reset_forgets_all_streams_of_a_name(ledgers: "Ledgers") -> None:
    for mark in (7, 2**24 - 1):
        ledgers.enter(mark, ["1-0", "2-0"])
    ledgers.enter(7, ["3-0"], group="other")
    assert ledgers.forget() == 4
    assert ledgers.count() == 1


class Ledgers:
    """The ledgers of streams that followed each other under one name."""

    def __init__(self, database_url: str) -> None:
        self.engine = create_engine(database_url)
        for table in LEDGER_TABLES:
            table.create(self.engine)

    def of(self, mark: int, group: str = "g") -> Ledger:
        ledger = Ledger(GroupRef("s", group))
        ledger.follow(mark)
        return ledger

    def enter(self, mark: int, ids: list[str], group: str = "g") -> None:
        with Session(self.engine) as session:
            assert self.of(mark, group).enter(session, ids) == set()
            session.commit()

    def prune(self, mark: int, margin: timedelta) -> int:
        with self.engine.begin() as connection:
            return self.of(mark).prune(connection, "1-0", margin)

    def forget(self) -> int:
        with self.engine.begin() as connection:
            return Ledger(GroupRef("s", "g")).forget(connection)

    def count(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(text("SELECT count(*) FROM streamfea_ledger")).scalar_one())


@pytest.fixture
def ledgers(database_url: str) -> Iterator[Ledgers]:
    with opened(database_url) as ledgers:
        yield ledgers


@contextmanager
def opened(database_url: str) -> Iterator[Ledgers]:
    ledgers = Ledgers(database_url)
    yield ledgers
    ledgers.engine.dispose()


def add_with_ids(client: Any, stream: str, records: range, first: int = 1) -> None:
    """Add records with the ids FIRST-0 and so on, as a producer does that gives them itself."""
    for position, number in enumerate(records, first):
        client.xadd(stream, {"record": json.dumps({"n": number})}, id=f"{position}-0")


def are_done(client: Any, stream: str, rows: Rows, numbers: list[int]) -> bool:
    return sorted(rows()) == numbers and client.xpending(stream, "streamfea")["pending"] == 0


def marks(client: Any, stream: str) -> list[str]:
    names = [one["name"] for one in client.xinfo_groups(stream)]
    assert all(name.startswith(MARK_PREFIX.encode()) == is_mark(name) for name in names)
    return [name.decode() for name in names if is_mark(name)]


def pending(client: Any, stream: str) -> dict[str, str]:
    found = client.xpending_range(stream, "streamfea", "-", "+", 100)
    return {one["message_id"].decode(): one["consumer"].decode() for one in found}
