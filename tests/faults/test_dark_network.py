"""A network that goes dark: nothing is forwarded any more, nobody is told, and old connections stay dead."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine, create_engine, make_url, text

from tests.machine.proxy import Proxy
from tests.support.commands import Project
from tests.support.streams import letters
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.timeout(180), pytest.mark.flaky(reruns=0)]

_DARK_SECONDS = 6.0
_LONGER_THAN_TIMEOUT_SECONDS = 8.0
_RECORDS = 300


@pytest.fixture
def postgresql(project: Project, database_url: str) -> Iterator[Proxy]:
    """A proxy through which the project reaches PostgreSQL."""
    url = make_url(database_url)
    with Proxy(Path(str(url.query["host"])) / ".s.PGSQL.5432").running() as proxy:
        through = url.set(host="127.0.0.1", port=proxy.port, query={"options": url.query["options"]})
        project.configure_servers(database={"url": through.render_as_string()})
        yield proxy


@pytest.fixture
def redis(project: Project, redis_url: str) -> Iterator[Proxy]:
    """A proxy through which the project reaches Redis."""
    with Proxy(Path(redis_url.removeprefix("unix://").partition("?")[0])).running() as proxy:
        project.configure_servers(redis={"url": f"redis://127.0.0.1:{proxy.port}"})
        yield proxy


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def done(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT number FROM ended ORDER BY number")))


def add(client: Redis, project: Project, numbers: range) -> None:
    for number in numbers:
        client.xadd(project.stream, {"record": f'{{"n": {number}}}'})


def dark(proxy: Proxy, project: Project, client: Redis, rows: Callable[[], list[int]]) -> None:
    with project.consuming("--workers", "2") as consumer:
        add(client, project, range(1))
        wait_until(lambda: rows() == [0], "it works")
        proxy.begin_dark()
        add(client, project, range(1, _RECORDS))
        proxy.go_dark(_DARK_SECONDS)
        wait_until(lambda: set(rows()) == set(range(_RECORDS)), "all is done, seconds after", 20)
        assert consumer.terminate() == 0


@pytest.mark.parametrize("guarantee", ["exactly-once", "at-least-once"])
def test_work_goes_on_seconds_after_postgresql_was_in_the_dark(
    project: Project, client: Redis, rows: Callable[[], list[int]], postgresql: Proxy, guarantee: str
) -> None:
    project.configure(guarantee=guarantee, block="500ms")
    project.run("initdb")
    dark(postgresql, project, client, rows)


@pytest.mark.parametrize("guarantee", ["exactly-once", "at-least-once"])
def test_a_wait_for_a_silent_postgresql_is_no_time_of_the_record_that_waits(
    project: Project, client: Redis, postgresql: Proxy, engine: Engine, guarantee: str
) -> None:
    project.configure("ender", guarantee=guarantee, block="500ms", timeout="4500ms", max_deliveries=1)
    project.run("initdb")
    add(client, project, range(1))
    with project.consuming() as consumer:
        wait_until(lambda: done(engine) == [0], "it works")
        postgresql.begin_dark()
        for number in range(1, 20):
            client.xadd(
                project.stream, {"record": json.dumps({"n": number, "do": "sleep after a query", "seconds": 0})}
            )
        postgresql.go_dark(_LONGER_THAN_TIMEOUT_SECONDS)
        wait_until(lambda: set(done(engine)) == set(range(20)), "all is done", 20)
        assert consumer.terminate() == 0
        assert "killing its worker" not in consumer.log()
    assert letters(client, project) == []


def test_work_goes_on_seconds_after_redis_was_in_the_dark(
    project: Project, client: Redis, rows: Callable[[], list[int]], redis: Proxy
) -> None:
    dark(redis, project, client, rows)


@pytest.mark.parametrize("server", ["postgresql", "redis"])
def test_a_stop_in_the_dark_is_orderly(
    project: Project, client: Redis, rows: Callable[[], list[int]], server: str, request: pytest.FixtureRequest
) -> None:
    proxy: Proxy = request.getfixturevalue(server)
    with project.consuming() as consumer:
        add(client, project, range(1))
        wait_until(lambda: rows() == [0], "it works")
        proxy.begin_dark()
        add(client, project, range(1, _RECORDS))
        assert consumer.terminate(timeout=32) == 0, consumer.log()
