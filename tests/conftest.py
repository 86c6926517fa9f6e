"""Real servers, started once a session; every test has keys and a schema of its own."""

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import create_engine, make_url, text

from streamfea.embedded import ensure_postgresql, ensure_valkey, stop
from tests.support.commands import Project


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Redis to test against."""
    given = os.environ.get("STREAMFEA_TEST_REDIS_URL")
    if given:
        yield given
        return
    directory = tmp_path_factory.mktemp("valkey")
    yield ensure_valkey(directory)
    stop(directory)


@pytest.fixture(scope="session")
def postgresql_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL database to test against, as someone who may create schemas in it."""
    given = os.environ.get("STREAMFEA_TEST_DATABASE_URL")
    if given:
        yield given
        return
    directory = tmp_path_factory.mktemp("postgresql")
    yield ensure_postgresql(directory)
    stop(directory)


@pytest.fixture
def name() -> str:
    """A name that no other test has, for streams and schemas."""
    return f"t{secrets.token_hex(6)}"


@pytest.fixture
def client(redis_url: str, name: str) -> Iterator[Redis]:
    """A client of the test's Redis; afterwards every key that has the test's name in it is gone."""
    with Redis.from_url(redis_url, protocol=2) as client:
        yield client
        keys = list(client.scan_iter(f"*{name}*"))
        if keys:
            client.delete(*keys)


@pytest.fixture
def database_url(postgresql_url: str, name: str) -> Iterator[str]:
    """The address of an empty schema, which is dropped afterwards."""
    engine = create_engine(postgresql_url)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    url = make_url(postgresql_url).update_query_dict({"options": f"-csearch_path={name}"})
    yield url.render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
    engine.dispose()


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Path]:
    """The folder of an embedded Valkey that the test may stop; `embedded:DIR` starts it."""
    directory = tmp_path / "valkey"
    yield directory
    stop(directory)


@pytest.fixture
def own_postgresql(tmp_path: Path) -> Iterator[Path]:
    """The folder of an embedded PostgreSQL that the test may stop; `embedded:DIR` starts it."""
    directory = tmp_path / "postgresql"
    yield directory
    stop(directory)


@pytest.fixture
def project(tmp_path: Path, redis_url: str, database_url: str, client: Redis, name: str) -> Project:
    """A project with the handler `recorder` on the shared servers; its table is there."""
    project = Project(tmp_path, redis_url, database_url, f"{name}:stream")
    project.run("initdb")
    return project


@pytest.fixture
def lone(tmp_path: Path, redis_url: str, client: Redis, name: str) -> Project:
    """A project on the shared Redis without a database, for commands that need none."""
    return Project(tmp_path, redis_url, "postgresql+psycopg://nobody@127.0.0.1:1/nowhere", f"{name}:stream")


@pytest.fixture
def rows(database_url: str) -> Iterator[Callable[[], list[int]]]:
    """Return the numbers that the handler `recorder` has committed, in the order of their commits."""
    engine = create_engine(database_url)

    def numbers() -> list[int]:
        with engine.connect() as connection:
            return list(connection.scalars(text("SELECT number FROM seen ORDER BY id")))

    yield numbers
    engine.dispose()
