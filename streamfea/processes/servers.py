"""Opens both servers for a process, and explains why one refuses it."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from streamfea.config.settings import Queue, Settings
from streamfea.database.connection.engine import open_database
from streamfea.errors import ConfigurationError
from streamfea.streams.connection.client import open_redis
from streamfea.streams.connection.errors import must_stop, reason_of, remedy_of

__all__ = ["is_refusal", "open_servers"]

_TLS_REFUSALS = ("certificate", "does not support SSL")
# What PostgreSQL, or libpq, says while connecting when waiting will not help; before a session exists there is no
# SQLSTATE to go by.
_REFUSALS = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "not permitted to log in",
    "invalid sslmode value",
    "invalid port number",
    "for connection option",
    "unsupported startup parameter",  # PgBouncer, of which also the next
    "no such database",
    "no such user",
    *_TLS_REFUSALS,
)


@contextmanager
def open_servers(settings: Settings, queue: Queue, name: str) -> Iterator[tuple[Engine, Redis]]:
    """Open both servers, close them afterwards, and turn what only the operator can mend into a sentence."""
    engine = open_database(settings.database, name)
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
        if is_refusal(error):
            raise ConfigurationError(f"database: {_first_line(error)}", remedy=_remedy(error)) from error
        raise
    finally:
        client.close()
        engine.dispose()


def is_refusal(error: BaseException) -> bool:
    """Tell whether PostgreSQL will not have us, or cannot be what we were told: waiting does not help."""
    return isinstance(error, OperationalError) and any(words in str(error.orig) for words in _REFUSALS)


def _remedy(error: OperationalError) -> str:
    if any(words in str(error.orig) for words in _TLS_REFUSALS):
        return "check database.url, and sslmode and sslrootcert in database.connect_args"
    if "unsupported startup parameter" in str(error.orig):
        return "PgBouncer takes none: remove it from database.url, or set ignore_startup_parameters in PgBouncer"
    return "check database.url and its password"


def _first_line(error: OperationalError) -> str:
    return str(error.orig).strip().splitlines()[0]
