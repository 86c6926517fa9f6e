"""Both servers, opened for what a person does, and closed afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from redis import Redis

from streamfea.config.settings import Settings
from streamfea.streams.connection.client import open_redis

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["open_client", "open_engine"]


@contextmanager
def open_client(settings: Settings) -> Iterator[Redis]:
    """Open the configured Redis."""
    client = open_redis(settings.redis)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def open_engine(settings: Settings) -> Iterator["Engine"]:
    """Open the configured PostgreSQL."""
    # What only asks Redis starts a third of a second sooner without SQLAlchemy.
    from streamfea.database.connection.engine import open_database  # noqa: PLC0415

    engine = open_database(settings.database)
    try:
        yield engine
    finally:
        engine.dispose()
