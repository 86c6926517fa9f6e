"""Finds out whether this host's workers are ready: both servers answer, and every worker reads."""

import time
from threading import Lock

import psycopg
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from streamfea.config.settings import Settings
from streamfea.database.connection.engine import open_database
from streamfea.observe.figures import Figures
from streamfea.observe.health import waits
from streamfea.streams.connection.client import open_redis
from streamfea.worker.outage import first_line

__all__ = ["Readiness"]

_ASK_EVERY_SECONDS = 2.0
_CONNECT_SECONDS = 2  # libpq's least


class Readiness:
    """Asks the servers when it is asked, every two seconds at most; may be called from several threads."""

    def __init__(self, settings: Settings, figures: Figures) -> None:
        arguments = {"connect_timeout": _CONNECT_SECONDS, **settings.database.connect_args}
        self._engine = open_database(
            settings.database.model_copy(update={"connect_args": arguments}), "streamfea-readyz"
        )
        self._redis = open_redis(settings.redis)
        self._figures = figures
        self._lock = Lock()
        self._asked_at = float("-inf")
        self._unreachable: list[str] = []

    def problems(self) -> list[str]:
        """Return a sentence for each thing that is not ready."""
        with self._lock:
            if time.monotonic() - self._asked_at > _ASK_EVERY_SECONDS:
                self._unreachable = [*self._ask_redis(), *self._ask_postgresql()]
                self._asked_at = time.monotonic()
            return [*self._unreachable, *waits(self._figures)]

    def _ask_redis(self) -> list[str]:
        try:
            self._redis.ping()
        except RedisError as error:
            return [f"Redis does not answer: {first_line(error)}"]
        return []

    def _ask_postgresql(self) -> list[str]:
        try:
            with self._engine.connect() as connection:
                connection.exec_driver_sql("SELECT 1")
        except (SQLAlchemyError, psycopg.Error) as error:
            return [f"PostgreSQL does not answer: {first_line(error)}"]
        finally:
            self._engine.dispose()  # a connection that is kept would not tell whether the next one is let in
        return []
