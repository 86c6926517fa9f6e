"""From a URL to a client that notices a dead server."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from streamfea.embedded import ensure_valkey
from streamfea.settings import RedisSettings

_EMBEDDED = "embedded:"
_CONNECT_TIMEOUT_SECONDS = 5.0
_ANSWER_TIMEOUT_SECONDS = 10.0


def open_redis(settings: RedisSettings, block: timedelta = timedelta(0)) -> Redis:
    """Return a client for `settings` that may wait up to `block` for an answer; nothing is connected yet.

    The time-out of the socket has to exceed the longest BLOCK, or every quiet stream looks like a dead server.
    Nothing is tried again behind our back: whoever waits for a server says so.

    An `embedded:DIR` server is started when it is not running. Raises `EmbeddedServerError` when it cannot be.
    """
    url = settings.url
    if url.startswith(_EMBEDDED):
        url = ensure_valkey(Path(url.removeprefix(_EMBEDDED)))
    options: dict[str, Any] = {
        "protocol": 2,  # replies have one shape in RESP2 and another in RESP3
        "socket_timeout": block.total_seconds() + _ANSWER_TIMEOUT_SECONDS,
        "socket_connect_timeout": _CONNECT_TIMEOUT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        **_credentials(settings),
        **_tls(settings),
    }
    if not url.startswith("unix:"):
        options["socket_keepalive"] = True
    return Redis.from_url(url, **options)


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
