"""Creates an engine whose connections notice a dead server."""

from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError

from streamfea.config.sections import DatabaseSettings
from streamfea.database.connection.pooler import NAME_OF_ALL, heed_pooler
from streamfea.database.connection.vigil import RunClock, keep_vigil
from streamfea.embedded import ensure_postgresql
from streamfea.errors import ConfigurationError

_EMBEDDED = "embedded:"

# libpq parameters (PostgreSQL manual, "Database Connection Control Functions"), seconds but for tcp_user_timeout
# (milliseconds): a server that vanished without closing its connections is noticed within seconds instead of hours.
_CONNECT_ARGS = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def open_database(settings: DatabaseSettings, name: str = NAME_OF_ALL, clock: RunClock | None = None) -> Engine:
    """Return an engine for `settings`, whose sessions are called `name`; no connection is opened yet.

    Behind a pooler that gives out transactions, it is these that are called `name`, and nothing is prepared.
    `clock` pauses while PostgreSQL may be away.

    An `embedded:DIR` server is started when it is not running. Raises `EmbeddedServerError` when it cannot be,
    `ConfigurationError` when the URL cannot be read.
    """
    if settings.url.startswith(_EMBEDDED):
        address = ensure_postgresql(Path(settings.url.removeprefix(_EMBEDDED)))
    else:
        address = settings.url
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):  # whose text may show a password
        raise ConfigurationError("database.url cannot be read", remedy="check its host and port") from None
    _check_conninfo(settings.connect_args.get("conninfo"))
    if settings.password is not None:
        url = url.set(password=settings.password.get_secret_value())
    is_known = settings.pooler in ("none", "session")
    arguments: dict[str, Any] = {
        "application_name": name if is_known else NAME_OF_ALL,
        **_CONNECT_ARGS,
        **settings.connect_args,
    }
    engine = create_engine(url, connect_args=arguments, pool_size=1, max_overflow=4, hide_parameters=True)
    keep_vigil(engine, clock or RunClock())
    if not is_known:
        heed_pooler(engine, name, settings.pooler)
    return engine


def _check_conninfo(conninfo: str | int | None) -> None:
    """Raise `ConfigurationError` for a connection string that libpq cannot read, and would quote passwords of."""
    try:
        conninfo_to_dict(str(conninfo or ""))
    except psycopg.Error:
        raise ConfigurationError(
            "database.connect_args.conninfo cannot be read",
            remedy="write each of its parameters as a key of connect_args",
        ) from None
