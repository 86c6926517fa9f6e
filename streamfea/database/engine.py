"""From a URL to an engine whose connections notice a dead server."""

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError

from streamfea.embedded import ensure_postgresql
from streamfea.errors import ConfigurationError
from streamfea.settings import DatabaseSettings

_EMBEDDED = "embedded:"

# libpq parameters (PostgreSQL manual, "Database Connection Control Functions"), seconds but for tcp_user_timeout
# (milliseconds): a server that vanished without closing its connections is noticed within half a minute instead of
# hours.
_CONNECT_ARGS = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def open_database(settings: DatabaseSettings, name: str = "streamfea") -> Engine:
    """Return an engine for `settings`, whose sessions are called `name`; no connection is opened yet.

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
        raise ConfigurationError("database.url cannot be read: check its host and port") from None
    if settings.password is not None:
        url = url.set(password=settings.password.get_secret_value())
    arguments: dict[str, Any] = {"application_name": name, **_CONNECT_ARGS, **settings.connect_args}
    return create_engine(url, connect_args=arguments, pool_size=1, max_overflow=4, hide_parameters=True)
