"""Stops receiving a reply that is too long for memory. Its entries can be claimed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import ConnectionPool
from redis.exceptions import RedisError

from streamfea.streams.connection.redis_internals import VERSIONS, ParserHook, parser_of

__all__ = ["ReplyTooLongError", "limit_replies", "replies_up_to"]


class ReplyTooLongError(RedisError):
    """A reply is too long. The rest of it was not received, and the connection cannot be used any more."""


def limit_replies(pool: ConnectionPool) -> None:
    """Have the connections that `pool` makes from now on heed `replies_up_to()`."""
    if VERSIONS.has_installed:
        pool.connection_kwargs["parser_class"] = _LimitedParser


@contextmanager
def replies_up_to(connection: Any, size: int | None) -> Iterator[None]:
    """Raise `ReplyTooLongError` for a reply on `connection` that is longer than `size` bytes; None for any length."""
    if not VERSIONS.has_installed:
        yield
        return
    parser = parser_of(connection)
    parser.limit = size
    try:
        yield
    finally:
        parser.limit = None


class _LimitedParser(ParserHook):
    limit: int | None = None
    _received = 0

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        self._received = 0
        return super().read_response(*arguments, **options)

    def note_received(self, size: int) -> None:
        self._received += size
        if self.limit is not None and self._received > self.limit:
            raise ReplyTooLongError(f"a reply is longer than {self.limit} bytes")
