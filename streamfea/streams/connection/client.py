"""Creates a client that notices a dead server."""

import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import HiredisRespSerializer
from redis.exceptions import InvalidResponse
from redis.retry import Retry

from streamfea.config.sections import RedisSettings
from streamfea.embedded import ensure_valkey
from streamfea.errors import ConfigurationError
from streamfea.streams.connection.names import NAME_ERRORS
from streamfea.streams.connection.own_socket import use_own_sockets
from streamfea.streams.connection.reply_limit import limit_replies

_EMBEDDED = "embedded:"
_CONNECT_TIMEOUT_SECONDS = 5.0
_ANSWER_TIMEOUT_SECONDS = 5.0
# As with PostgreSQL: seconds, but for TCP_USER_TIMEOUT, in milliseconds (tcp(7)).
_KEEPALIVE_OPTIONS = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000}
_KEEPALIVE = {getattr(socket, name): value for name, value in _KEEPALIVE_OPTIONS.items() if hasattr(socket, name)}


def open_redis(settings: RedisSettings, block: timedelta = timedelta(0)) -> Redis:
    """Return a client for `settings` that may wait up to `block` for an answer; nothing is connected yet.

    The time-out of the socket has to exceed the longest BLOCK, or every quiet stream looks like a dead server.
    The client repeats nothing by itself: callers that wait for a server log it.

    An `embedded:DIR` server is started when it is not running. Raises `EmbeddedServerError` when it cannot be, and
    `ConfigurationError` when the URL has options that nobody knows.
    """
    url = settings.url
    if url.startswith(_EMBEDDED):
        url = ensure_valkey(Path(url.removeprefix(_EMBEDDED)))
    options: dict[str, Any] = {
        "protocol": 2,  # replies have one shape in RESP2 and another in RESP3
        "command_packer": _Packer(),
        "socket_timeout": block.total_seconds() + _ANSWER_TIMEOUT_SECONDS,
        "socket_connect_timeout": _CONNECT_TIMEOUT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        **_tls(settings),
    }
    if not url.startswith("unix:"):
        options["socket_keepalive"] = True
        options["socket_keepalive_options"] = _KEEPALIVE
    try:
        client = _Client.from_url(url, **options)
        pool = client.connection_pool
        pool.connection_kwargs.update(_credentials(settings))  # afterwards, for redis-py prefers those in the URL
        use_own_sockets(pool)
        limit_replies(pool)
        pool.connection_class(**pool.connection_kwargs)  # which connects nothing, and fails if an option is unknown
    except (ValueError, TypeError) as error:
        problem = str(error).rpartition(".__init__() ")[2]
        raise ConfigurationError(f"redis.url cannot be used: {problem}") from error
    return client


class _Packer:
    """Packs commands with hiredis, which knows no text but UTF-8; names that are not go as the bytes they were."""

    def __init__(self) -> None:
        self._hiredis: Any = HiredisRespSerializer()

    def pack(self, *command: Any) -> Any:
        """Return a command as it is sent."""
        try:
            return self._hiredis.pack(*command)
        except UnicodeEncodeError:
            return self._hiredis.pack(*(_as_bytes(word) if isinstance(word, str) else word for word in command))


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", NAME_ERRORS)


class _Client(Redis):
    """A client that says so when a server's replies make no sense."""

    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        """Return the reply; raise `InvalidResponse` when it is none to this command."""
        redis_py: Any = super()  # which leaves this untyped
        try:
            return redis_py.parse_response(connection, command_name, **options)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            connection.disconnect()
            name = command_name.decode() if isinstance(command_name, bytes) else command_name
            raise InvalidResponse(f"what answers makes no sense after {name}: is it a Redis?") from error


def _credentials(settings: RedisSettings) -> dict[str, str]:
    given: dict[str, str] = {}
    if settings.username is not None:
        given["username"] = settings.username
    if settings.password is not None:
        given["password"] = settings.password.get_secret_value()
    return given


def _tls(settings: RedisSettings) -> dict[str, str]:
    if not settings.url.startswith("rediss:"):
        return {}
    files = {
        "ssl_ca_certs": settings.tls_ca_file,
        "ssl_certfile": settings.tls_cert_file,
        "ssl_keyfile": settings.tls_key_file,
    }
    return {name: str(path) for name, path in files.items() if path is not None}
