"""What a test has of PostgreSQL without a project: tables in a schema of its own, an engine and sessions."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine, Table, create_engine

from streamfea.database.session.session import Sessions, open_sessions
from tests.support.commands import Project
from tests.support.places import Place


@pytest.fixture
def tables() -> Sequence[Table]:
    """The tables that `engine` makes: none, unless a module says which."""
    return ()


@pytest.fixture
def engine(database_url: str, tables: Sequence[Table]) -> Iterator[Engine]:
    """An engine of the test's schema, in which the tables are."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        for table in tables:
            table.create(connection)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine, database_url: str) -> Iterator[Sessions]:
    """Sessions as handlers get them, on connections of their own."""
    own = create_engine(database_url)
    yield open_sessions(own)
    own.dispose()


@pytest.fixture
def place(tmp_path: Path, redis_url: str, database_url: str, engine: Engine, client: Redis, name: str) -> Place:
    """A folder for a handler that the test writes, on the shared servers."""
    return Place(Project(tmp_path, redis_url, database_url, f"{name}:stream"), client, engine)
