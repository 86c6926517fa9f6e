"""Keeps connections to Redis from using a socket of others: a handler may close theirs, whose number is reused."""

from typing import Any

from redis import ConnectionPool
from redis.exceptions import ConnectionError as LostError

from streamfea.core.descriptors import identity
from streamfea.streams.connection.redis_internals import VERSIONS, ConnectionHook, socket_of

__all__ = ["use_own_sockets"]


def use_own_sockets(pool: ConnectionPool) -> None:
    """Have the connections that `pool` makes from now on do so."""
    if not VERSIONS.has_installed:
        return
    kind = pool.connection_class
    pool.connection_class = type(kind.__name__, (_OnOwnSocket, kind), {})


class _OnOwnSocket(ConnectionHook):
    """Put before one of redis-py's connections, whose methods it guards."""

    _opened: tuple[int, int] | None = None

    def note_socket(self, sock: Any) -> None:
        self._opened = identity(sock.fileno())

    def connect(self) -> None:
        """Connect, unless that is done and still holds."""
        self._let_go_of_what_others_closed()
        _of(super()).connect()

    def send_packed_command(self, *arguments: Any, **options: Any) -> None:
        """Send, on a new connection if need be."""
        self._let_go_of_what_others_closed()
        _of(super()).send_packed_command(*arguments, **options)

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Return the reply; raise `ConnectionError` when it cannot come any more."""
        if self._let_go_of_what_others_closed():
            raise LostError("the connection is lost: its socket was closed in this process")
        return _of(super()).read_response(*arguments, **options)

    def _let_go_of_what_others_closed(self) -> bool:
        sock = socket_of(self)
        if sock is None or identity(sock.fileno()) == self._opened:
            return False
        sock.detach()  # or closing it would close another's
        _of(self).disconnect()
        return True


def _of(redis_py: Any) -> Any:
    """Return the same; redis-py leaves its connections untyped."""
    return redis_py
