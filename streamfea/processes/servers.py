"""Opens both servers for a process, and explains why one refuses it."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from streamfea.config.sections import Queue
from streamfea.config.settings import Settings
from streamfea.database.connection import errors as postgresql
from streamfea.database.connection.engine import open_database
from streamfea.database.connection.vigil import RunClock
from streamfea.errors import ConfigurationError
from streamfea.streams.connection.client import open_redis
from streamfea.streams.connection.errors import must_stop, reason_of, remedy_of

__all__ = ["open_servers"]


@contextmanager
def open_servers(
    settings: Settings, queue: Queue, name: str, clock: RunClock | None = None
) -> Iterator[tuple[Engine, Redis]]:
    """Open both servers, close them afterwards, and turn errors that only the operator can correct into a sentence."""
    engine = open_database(settings.database, name, clock)
    client = open_redis(settings.redis, queue.block)
    try:
        yield engine, client
    except RedisError as error:
        if must_stop(error):
            raise ConfigurationError(
                f"redis, queue {queue.name}: {reason_of(error)}", remedy=remedy_of(error)
            ) from error
        raise
    except OperationalError as error:
        if postgresql.is_refusal(error):
            raise ConfigurationError(
                f"database: {postgresql.reason_of(error)}", remedy=postgresql.remedy_of(error)
            ) from error
        raise
    finally:
        client.close()
        engine.dispose()
