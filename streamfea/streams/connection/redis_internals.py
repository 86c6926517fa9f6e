"""All that streamfea relies on in redis-py beyond its documented API, and the versions that it was tried with.

With a version that is not known, replies have no limit, and nobody notices a socket that a handler has closed. `Reader`
calls methods of redis-py's connections that it has for itself: `pack_commands()`, `send_packed_command()`,
`can_read()`. These have no replacement; without them, no version works.
"""

from typing import Any

import redis
from redis.connection import DefaultParser

from streamfea.core.known_versions import KnownVersions

__all__ = ["VERSIONS", "ConnectionHook", "ParserHook", "buffered", "parser_of", "socket_of"]

VERSIONS = KnownVersions(
    "redis-py",
    redis.__version__,
    (6,),
    (9,),
    "long replies have no limit, and a socket that a handler closes is not noticed",
)

_Parser: Any = DefaultParser  # redis-py leaves it untyped


class ParserHook(_Parser):  # type: ignore[misc]  # it is Any
    """A parser that tells of each read from its socket: all of them go through `read_from_socket()`."""

    def read_from_socket(self, *arguments: Any, **options: Any) -> Any:
        """Read what is there."""
        before = buffered(self)
        result = super().read_from_socket(*arguments, **options)
        self.note_received(buffered(self) - before)
        return result

    def note_received(self, size: int) -> None:
        """Note that so many bytes have come."""


class ConnectionHook:
    """Put before a class of redis-py's connections, it tells of each new socket: `_connect()` makes and returns it."""

    def _connect(self) -> Any:
        redis_py: Any = super()
        sock = redis_py._connect()
        self.note_socket(sock)
        return sock

    def note_socket(self, sock: Any) -> None:
        """Note that the connection has a new socket."""


def parser_of(connection: Any) -> Any:
    """Return the parser of a connection's replies: `_parser`, made by the pool's `parser_class`."""
    return connection._parser


def buffered(parser: Any) -> int:
    """Return how many bytes a parser has in its buffer, to which a read adds: those in hiredis' `_reader`."""
    reader = parser._reader
    return 0 if reader is None else int(reader.len())


def socket_of(connection: Any) -> Any:
    """Return a connection's socket, or None while it has none: `_sock`."""
    return connection._sock
