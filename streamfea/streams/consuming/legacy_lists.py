"""Moves elements from the lists of old producers to the stream: each once, oldest first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from streamfea.streams.connection.errors import was_unblocked
from streamfea.streams.connection.scripts import Scripts

__all__ = ["LegacyLists", "legacy_backlog"]

# What one call moves at most. The server does nothing else meanwhile: some milliseconds.
_SLICE_ELEMENTS = 2_000
_SLICE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Moved:
    """How many elements were moved from the list `key` to the stream."""

    key: str
    elements: int


class LegacyLists:
    """Lists, the one that producers push to first, and the stream whose entries hold an element in `field`.

    Producers LPUSH and consumers BRPOP, so the oldest element is at the right. Several may move at once, on any number
    of hosts. Every method raises what redis-py raises when the server is away, and `WRONGTYPE` when a key is no list,
    or the stream no stream.
    """

    def __init__(self, client: Redis, lists: Sequence[str], stream: str, field: str) -> None:
        self._client: Any = client  # redis-py leaves the types of replies open
        self._scripts = Scripts(client)
        self._lists = lists
        self._stream = stream
        self._field = field

    def check(self) -> None:
        """Move nothing; raise the errors that `move()` would raise."""
        for key in self._lists:
            self._scripts.run("move", [key, self._stream], [self._field, 0, 0])

    def move(self) -> Iterator[Moved]:
        """Move one slice of each list that has elements, and yield the numbers."""
        for key in self._lists:
            arguments = [self._field, _SLICE_ELEMENTS, _SLICE_BYTES]
            elements = int(self._scripts.run("move", [key, self._stream], arguments))
            if elements:
                yield Moved(key, elements)

    def wait(self, timeout: timedelta) -> None:
        """Return as soon as the list that producers push to has an element, at the latest after `timeout`.

        Moving the last element to where it is changes nothing, and is the only command that waits for an element
        without taking it. Returns early when the server has become a replica: the next move meets the reason.
        """
        [key, *_] = self._lists
        try:
            self._client.blmove(key, key, timeout.total_seconds(), "RIGHT", "RIGHT")
        except ResponseError as error:
            if not was_unblocked(error):
                raise


def legacy_backlog(client: Redis, lists: Sequence[str]) -> int | None:
    """Return how many elements wait in lists; None when there are none."""
    if not lists:
        return None
    return sum(int(client.llen(key)) for key in lists)
