"""Stops receiving a reply that is too long for memory. Its entries can be claimed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import ConnectionPool
from redis.connection import DefaultParser
from redis.exceptions import RedisError

__all__ = ["ReplyTooLongError", "limit_replies", "replies_up_to"]

_Parser: Any = DefaultParser  # redis-py leaves it untyped


class ReplyTooLongError(RedisError):
    """A reply is too long. The rest of it was not received, and the connection cannot be used any more."""


def limit_replies(pool: ConnectionPool) -> None:
    """Have the connections that `pool` makes from now on heed `replies_up_to()`."""
    pool.connection_kwargs["parser_class"] = _LimitedParser


@contextmanager
def replies_up_to(connection: Any, size: int | None) -> Iterator[None]:
    """Raise `ReplyTooLongError` for a reply on `connection` that is longer than `size` bytes; None for any length."""
    parser = connection._parser
    parser.limit = size
    try:
        yield
    finally:
        parser.limit = None


class _LimitedParser(_Parser):  # type: ignore[misc]  # it is Any
    limit: int | None = None
    _received = 0

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        self._received = 0
        return super().read_response(*arguments, **options)

    def read_from_socket(self, *arguments: Any, **options: Any) -> Any:
        before = self._buffered()
        result = super().read_from_socket(*arguments, **options)
        self._received += self._buffered() - before
        if self.limit is not None and self._received > self.limit:
            raise ReplyTooLongError(f"a reply is longer than {self.limit} bytes")
        return result

    def _buffered(self) -> int:
        reader = self._reader
        return 0 if reader is None else int(reader.len())
