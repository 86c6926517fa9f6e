"""Debian's PgBouncer between streamfea and PostgreSQL, each transaction on whichever connection is free."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from redis import Redis
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from streamfea.config.sections import DatabaseSettings, Queue
from streamfea.database.connection.engine import open_database
from streamfea.database.connection.fencing import end_transactions, session_name
from streamfea.database.session.session import open_sessions
from streamfea.streams.connection.keys import dead_letters_key
from tests.support.commands import Project
from tests.support.pgbouncer import pgbouncer
from tests.support.queues import ref_of

pytestmark = pytest.mark.timeout(120)

_TABLES = {"cored": "cored", "cored_too": "cored_too", "recorder": "seen"}


@pytest.fixture
def address(tmp_path: Path, postgresql_url: str, database_url: str, name: str) -> Iterator[str]:
    """The address through PgBouncer, as a role whose tables are in the test's schema."""
    superuser = create_engine(postgresql_url)
    with superuser.begin() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN SUPERUSER"))
        connection.execute(text(f"ALTER ROLE {name} SET search_path = {name}"))
    as_role = make_url(postgresql_url).set(username=name)
    with pgbouncer(tmp_path / "pgbouncer", as_role.render_as_string(hide_password=False)) as url:
        yield url.render_as_string()
    with superuser.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {name} CASCADE"))
        connection.execute(text(f"DROP ROLE {name}"))
    superuser.dispose()


@pytest.fixture
def through(project: Project, address: str) -> Project:
    """The project of the test with its database behind PgBouncer."""
    project.configure_servers(database={"url": address})
    return project


def three_queues(project: Project, **keys: object) -> None:
    """Write a configuration of three queues, each with a table of its own."""
    settings = project.settings()
    settings["queues"] = {
        handler: {"handler": handler, "stream": f"{project.stream}:{handler}", "workers": 2, **keys}
        for handler in _TABLES
    }
    project.config.write_text(tomli_w.dumps(settings))


def produce(client: Redis, project: Project, count: int) -> None:
    with client.pipeline() as pipeline:
        for number in range(count):
            for handler in _TABLES:
                pipeline.xadd(f"{project.stream}:{handler}", {"record": json.dumps({"n": number})})
        pipeline.execute()


@pytest.mark.parametrize(
    ("guarantee", "bulk", "pooler", "count"),
    [
        ("at-least-once", True, None, 2_667),
        ("at-least-once", False, None, 300),
        ("exactly-once", True, None, 300),
        ("exactly-once", False, "transaction", 300),
    ],
)
def test_every_row_is_in_its_own_table(
    through: Project, client: Redis, engine: Engine, guarantee: str, bulk: bool, pooler: str | None, count: int
) -> None:
    through.configure_servers(database={"pooler": pooler} if pooler else {})
    three_queues(through, guarantee=guarantee, bulk=bulk, batch_size=50)
    through.run("initdb")
    produce(client, through, count)
    through.run("consume", "--until-empty", timeout=110)
    for handler, table in _TABLES.items():
        assert dead_letters(client, f"{through.stream}:{handler}") == 0
        with engine.connect() as connection:
            numbers = list(connection.scalars(text(f"SELECT number FROM {table}")))
            assert sorted(numbers) == list(range(count))
            if table != "seen":
                assert set(connection.scalars(text(f"SELECT writer FROM {table}"))) == {handler}


def test_what_prepares_the_database_goes_through_it(through: Project) -> None:
    three_queues(through, guarantee="exactly-once")
    through.run("initdb")
    through.run("migratedb")
    assert "No problems found" in through.run("check")


def test_fencing_ends_the_transaction_that_is_meant_and_nobody_elses_session(address: str, database_url: str) -> None:
    queue = Queue(name="q", stream="events", handler="recorder")
    dead = open_database(DatabaseSettings(url=address), session_name(queue.ref, "dead"))
    strangers = create_engine(address)
    with dead.begin() as connection:
        was = connection.scalar(text("SELECT pg_backend_pid()"))
    with strangers.connect() as stranger, dead.connect() as stopped:
        # The stranger has the connection that was the dead one's, which has another now.
        assert stranger.scalar(text("SELECT pg_backend_pid()")) == was
        assert stopped.scalar(text("SELECT pg_backend_pid()")) != was
        # Neither PgBouncer nor PostgreSQL gives out a third, so the fencing comes past it.
        role = make_url(address).username
        past = open_database(DatabaseSettings(url=make_url(database_url).set(username=role).render_as_string()))
        assert end_transactions(open_sessions(past), queue.ref, ["dead"]) == 1
        assert stranger.scalar(text("SELECT 1")) == 1
        with pytest.raises(OperationalError):
            stopped.scalar(text("SELECT 1"))
        past.dispose()
    for one in (dead, strangers):
        one.dispose()


def test_nothing_is_prepared_or_named_for_longer_than_a_transaction(address: str, engine: Engine) -> None:
    queue = Queue(name="q", stream="events", handler="recorder")
    ours = open_database(DatabaseSettings(url=address), session_name(queue.ref, "me"))
    names = text("SELECT application_name FROM pg_stat_activity WHERE pid = :pid")
    with ours.connect() as connection, engine.connect() as looking:
        for _ in range(10):
            pid = connection.scalar(text("SELECT pg_backend_pid()"))
            assert connection.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == 0
            assert looking.scalar(names, {"pid": pid}) == session_name(queue.ref, "me")
        connection.rollback()
        looking.rollback()
        assert looking.scalar(names, {"pid": pid}) == "streamfea"
    ours.dispose()


@pytest.mark.parametrize("pooler", [None, "none"])
def test_statements_are_prepared_where_no_pooler_is(database_url: str, pooler: Any) -> None:
    queue = Queue(name="q", stream="events", handler="recorder")
    ours = open_database(DatabaseSettings(url=database_url, pooler=pooler), session_name(queue.ref, "me"))
    with ours.connect() as connection:
        for _ in range(10):
            count = connection.scalar(text("SELECT count(*) FROM pg_prepared_statements"))
        assert count == 1
        named = text("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()")
        assert connection.scalar(named) == session_name(queue.ref, "me")
    ours.dispose()


def test_a_session_has_its_own_connection_where_the_pooler_gives_out_sessions(
    tmp_path: Path, postgresql_url: str
) -> None:
    with pgbouncer(tmp_path / "pgbouncer", postgresql_url, mode="session") as url:
        ours = open_database(DatabaseSettings(url=url.render_as_string(), pooler="session"), "me")
        with ours.connect() as connection:
            for _ in range(10):
                count = connection.scalar(text("SELECT count(*) FROM pg_prepared_statements"))
            assert count == 1
        ours.dispose()


def test_a_startup_parameter_that_it_refuses_is_told_in_a_sentence(through: Project, address: str) -> None:
    refused = make_url(address).update_query_dict({"options": "-csearch_path=public"})
    through.configure_servers(database={"url": refused.render_as_string()})
    assert "ignore_startup_parameters" in through.run("consume", expect=2)


def dead_letters(client: Redis, stream: str) -> int:
    return int(client.xlen(dead_letters_key(ref_of(stream))))
