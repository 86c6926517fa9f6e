"""What ends a record's SQL is not always the world's fault, nor the record's."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, NullPool, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from streamfea.config.sections import DatabaseSettings
from streamfea.core.entry import Entry
from streamfea.core.group_ref import GroupRef
from streamfea.database.connection.engine import open_database
from streamfea.database.connection.pooler import Pooler
from streamfea.database.session.session import open_sessions
from streamfea.streams.connection.keys import dead_letters_key
from streamfea.worker.policy import Verdict
from tests.support.commands import Project
from tests.support.entries import entries, group_commit, number_of, run_entries
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(120)

_GOOD = [number for number in range(100) if number != 11]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def role(postgresql_url: str, name: str, project: Project, engine: Engine) -> Iterator[str]:
    """A role that may work on the tables of the handler `ender`, and that the project logs in as."""
    superuser = create_engine(postgresql_url)
    project.configure("ender", guarantee="exactly-once", max_deliveries=2, backoff="100ms", block="500ms")
    project.run("initdb")
    with superuser.begin() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN"))
        connection.execute(text(f"GRANT USAGE ON SCHEMA {name} TO {name}"))
        connection.execute(text(f"GRANT ALL ON ALL TABLES IN SCHEMA {name} TO {name}"))
        connection.execute(text(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {name} TO {name}"))
    url = make_url(str(engine.url.render_as_string(hide_password=False))).set(username=name)
    project.configure_servers(database={"url": url.render_as_string(hide_password=False)})
    yield name
    with superuser.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {name}"))
        connection.execute(text(f"DROP ROLE {name}"))
    superuser.dispose()


def alter(engine: Engine, role: str, settings: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"ALTER ROLE {role} {settings}"))


def end_sessions(engine: Engine, role: str) -> None:
    with engine.begin() as connection:
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = :role"
        connection.execute(text(query), {"role": role})


def add(client: Redis, project: Project, records: list[dict[str, object]]) -> None:
    with client.pipeline() as pipeline:
        for record in records:
            pipeline.xadd(project.stream, {"record": json.dumps(record)})
        pipeline.execute()


def hundred(eleventh: dict[str, object]) -> list[dict[str, object]]:
    return [{"n": number, **(eleventh if number == 11 else {})} for number in range(100)]


def done(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT number FROM ended ORDER BY number")))


def dead(client: Redis, project: Project) -> list[dict[bytes, bytes]]:
    letters: Any = client.xrange(dead_letters_key(GroupRef(project.stream, "streamfea")))
    return [fields for _, fields in letters]


@pytest.mark.parametrize("guarantee", ["exactly-once", "at-least-once"])
@pytest.mark.parametrize("bulk", [True, False])
def test_records_that_end_their_own_sql_are_buried_and_their_neighbours_are_done(
    project: Project, client: Redis, engine: Engine, bulk: bool, guarantee: str
) -> None:
    deeds = ["end its backend", "read a missing file", "sort too much", "write nothing", "name no table"]
    project.configure("ender", guarantee=guarantee, bulk=bulk, max_deliveries=2, backoff="100ms", block="500ms")
    project.run("initdb")
    bad = dict(zip(range(11, 100, 20), deeds, strict=True))
    add(client, project, [{"n": number, **({"do": bad[number]} if number in bad else {})} for number in range(100)])
    project.run("consume", "--until-empty")
    assert done(engine) == [number for number in range(100) if number not in bad]
    letters = dead(client, project)
    assert sorted(json.loads(letter[b"record"])["do"] for letter in letters) == sorted(deeds)
    assert {(letter[b"streamfea-reason"], letter[b"streamfea-deliveries"]) for letter in letters} == {(b"failed", b"2")}


@pytest.mark.parametrize("setting", ["idle_in_transaction_session_timeout", "transaction_timeout"])
def test_a_record_that_sleeps_past_the_roles_time_out_is_buried_and_its_neighbours_are_done(
    project: Project, client: Redis, engine: Engine, role: str, setting: str
) -> None:
    alter(engine, role, f"SET {setting} = '1s'")
    add(client, project, hundred({"do": "sleep after a query", "seconds": 2}))
    project.run("consume", "--until-empty")
    assert done(engine) == _GOOD
    assert len(dead(client, project)) == 1


def test_a_statement_that_is_slow_by_itself_is_its_records_fault(
    project: Project, client: Redis, engine: Engine, role: str
) -> None:
    alter(engine, role, "SET statement_timeout = '1s'")
    add(client, project, hundred({"do": "take long"}))
    project.run("consume", "--until-empty")
    assert done(engine) == _GOOD
    assert len(dead(client, project)) == 1


@pytest.mark.parametrize("bulk", [True, False])
@pytest.mark.parametrize("setting", ["lock_timeout", "statement_timeout"])
def test_a_locked_table_is_waited_for_and_told_once(
    project: Project, client: Redis, engine: Engine, role: str, setting: str, bulk: bool
) -> None:
    alter(engine, role, f"SET {setting} = '300ms'")
    project.configure("ender", guarantee="exactly-once", bulk=bulk, max_deliveries=2, backoff="100ms", block="500ms")
    with project.consuming() as consumer:
        wait_until(lambda: "consuming" in consumer.log(), "it works")
        with locked(engine):
            add(client, project, [{"n": number} for number in range(20)])
            wait_until(tries(engine, role), "it tries again and again")
            wait_until(lambda: "waiting for PostgreSQL" in consumer.log(), "it says so")
        wait_until(lambda: done(engine) == list(range(20)), "it goes on")
        assert consumer.log().count("waiting for PostgreSQL") == 1, consumer.log()
        assert consumer.terminate() == 0
    assert dead(client, project) == []


def test_a_table_that_is_locked_at_the_start_is_waited_for(project: Project, engine: Engine, role: str) -> None:
    alter(engine, role, "SET statement_timeout = '300ms'")
    with locked(engine), project.consuming() as consumer:
        wait_until(lambda: "waiting for PostgreSQL" in consumer.log(), "it says so")
        assert consumer.terminate() == 0


_TAKEN = {
    "a GRANT": ("REVOKE INSERT ON ended FROM {role}", "GRANT INSERT ON ended TO {role}"),
    "the schema's": ("REVOKE USAGE ON SCHEMA {role} FROM {role}", "GRANT USAGE ON SCHEMA {role} TO {role}"),
    "a table": ("ALTER TABLE ended RENAME TO away", "ALTER TABLE away RENAME TO ended"),
    "the ledger": ("ALTER TABLE streamfea_ledger RENAME TO away", "ALTER TABLE away RENAME TO streamfea_ledger"),
}


@pytest.mark.parametrize("what", _TAKEN)
def test_what_is_taken_away_while_it_works_is_waited_for(
    project: Project, client: Redis, engine: Engine, role: str, what: str
) -> None:
    take, give_back = _TAKEN[what]
    with project.consuming() as consumer:
        add(client, project, [{"n": 0}])
        wait_until(lambda: done(engine) == [0], "it works")
        with engine.begin() as connection:
            connection.execute(text(take.format(role=role)))
        add(client, project, [{"n": number} for number in range(1, 30)])
        wait_until(lambda: "waiting for PostgreSQL" in consumer.log(), "it says so")
        with engine.begin() as connection:
            connection.execute(text(give_back.format(role=role)))
        wait_until(lambda: done(engine) == list(range(30)), "it goes on")
        assert consumer.log().count("waiting for PostgreSQL") == 1, consumer.log()
        assert consumer.terminate() == 0
    assert dead(client, project) == []


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_record_that_hides_that_it_got_no_connection_runs_again(engine: Engine, role: str, at_once: int) -> None:
    insert = text("INSERT INTO ended (number) VALUES (:number)")

    def process(session: Session, entry: Entry) -> None:
        number = number_of(entry)
        try:
            session.execute(text("SELECT 1"))
        except SQLAlchemyError:
            number = -1
            alter(engine, role, "LOGIN")
        session.execute(insert, {"number": number})

    alter(engine, role, "NOLOGIN")
    own = create_engine(engine.url.set(username=role), poolclass=NullPool)
    outcomes = run_entries(group_commit(open_sessions(own), process), entries(1, 2, 3), at_once)
    assert done(engine) == [1, 2, 3]
    assert [outcome.verdict for outcome in outcomes] == [Verdict.DONE] * 3


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("pooler", ["none", "transaction"])
def test_a_record_that_hides_that_its_transaction_could_not_begin_runs_again(
    engine: Engine, role: str, pooler: Pooler, at_once: int
) -> None:
    def process(session: Session, entry: Entry) -> None:
        number = number_of(entry)
        try:
            session.execute(text("SELECT 1"))
        except SQLAlchemyError:
            number = -1
        session.execute(text("INSERT INTO ended (number) VALUES (:number)"), {"number": number})

    url = engine.url.set(username=role).render_as_string(hide_password=False)
    own = open_database(DatabaseSettings(url=url, pooler=pooler), "me")
    commit = group_commit(open_sessions(own), process)
    outcomes = run_entries(commit, entries(1), at_once)
    end_sessions(engine, role)
    outcomes += run_entries(commit, entries(2, 3, 4), at_once)
    own.dispose()
    assert done(engine) == [1, 2, 3, 4]
    assert [outcome.verdict for outcome in outcomes] == [Verdict.DONE] * 4


def test_a_worker_that_gets_no_connection_holds_nothing(
    project: Project, client: Redis, engine: Engine, role: str
) -> None:
    alter(engine, role, "CONNECTION LIMIT 2")
    with project.consuming("--workers", "3") as consumer:
        wait_until(lambda: "waiting for PostgreSQL" in consumer.log(), "one gets no connection")
        for first in range(0, 600, 20):
            add(client, project, [{"n": number} for number in range(first, first + 20)])
        wait_until(lambda: done(engine) == list(range(600)), "the others do it all")
        wait_until(lambda: pending(client, project) == 0, "nobody holds anything")
        assert consumer.terminate() == 0
    assert dead(client, project) == []


def test_a_worker_that_loses_its_connection_for_good_hands_over_what_it_holds(
    project: Project, client: Redis, engine: Engine, role: str
) -> None:
    with project.consuming("--workers", "3") as consumer:
        wait_until(lambda: consumer.log().count("consuming") == 3, "they work")
        alter(engine, role, "CONNECTION LIMIT 2")
        end_sessions(engine, role)
        for first in range(0, 600, 20):
            add(client, project, [{"n": number} for number in range(first, first + 20)])
        wait_until(lambda: done(engine) == list(range(600)), "it is all done", seconds=60)
        wait_until(lambda: pending(client, project) == 0, "nobody holds anything")
        assert consumer.terminate() == 0
    assert dead(client, project) == []


def pending(client: Redis, project: Project) -> int:
    summary: Any = client.xpending(project.stream, "streamfea")
    return int(summary["pending"])


@contextmanager
def locked(engine: Engine) -> Iterator[None]:
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE ended IN ACCESS EXCLUSIVE MODE"))
        yield


def tries(engine: Engine, role: str) -> Callable[[], bool]:
    """Return what tells whether the role has begun to wait for a lock since it was asked last."""
    seen: set[object] = set()

    def has_tried_often() -> bool:
        query = "SELECT query_start FROM pg_stat_activity WHERE usename = :role AND wait_event_type = 'Lock'"
        with engine.connect() as connection:
            seen.update(connection.scalars(text(query), {"role": role}))
        return len(seen) >= 6

    return has_tried_often
