"""The streams that no queue of the configuration reads: producers may write to one of them by mistake."""

import difflib
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

from redis import Redis
from redis.exceptions import RedisError

from streamfea.config.sections import Queue
from streamfea.core.printable import printable
from streamfea.streams.connection.names import name_of

__all__ = ["OtherStreams", "is_virgin"]

# A look at a server with millions of keys has to end: this many calls of SCAN see some hundred thousand keys.
_CALLS = 200
_KEYS_A_CALL = 1000
_STREAMS_AT_MOST = 1000
_NAMED_AT_MOST = 5
_DEAD_LETTERS = ":dead:"
# Ratios of difflib's: "event" and "events" have 0.91.
_ALIKE, _MISSPELT = 0.6, 0.8


class _Stream(NamedTuple):
    name: str
    length: int
    groups: int


class OtherStreams:
    """The streams on a server that hold entries or have groups, and belong to none of `queues`."""

    def __init__(self, client: Redis, queues: Sequence[Queue]) -> None:
        self._client = client
        self._own = {queue.stream for queue in queues}

    def told(self, stream: str) -> str | None:
        """Return a sentence on them, names like that of `stream` first and then the longest; None if there are none."""
        if not self._found:
            return None

        def rank(other: _Stream) -> tuple[float, int]:
            likeness = _likeness(stream, other)
            return -likeness if likeness >= _ALIKE else 0.0, -other.length

        ranked = sorted(self._found, key=rank)
        named = [f"{printable(other.name, one_line=True)} ({_about(other)})" for other in ranked[:_NAMED_AT_MOST]]
        more = len(ranked) - len(named)
        return f"Other streams are: {', '.join(named)}" + (f" and {more:,} more" if more else "")

    def has_namesake(self, stream: str) -> bool:
        """Tell whether one of them has almost the name `stream`."""
        return any(_likeness(stream, other) >= _MISSPELT for other in self._found)

    @cached_property
    def _found(self) -> list[_Stream]:
        try:
            names = [name for name in self._names() if name not in self._own and _DEAD_LETTERS not in name]
            return [other for name in names if (other := _described(self._client, name)) is not None]
        except RedisError:  # SCAN is not needed for anything else, and need not be permitted
            return []

    def _names(self) -> list[str]:
        untyped: Any = self._client  # redis-py leaves the types of replies open
        names: list[str] = []
        cursor = 0
        for _ in range(_CALLS):
            cursor, keys = untyped.scan(cursor, count=_KEYS_A_CALL, _type="stream")
            names += [name_of(key) for key in keys]
            if cursor == 0 or len(names) >= _STREAMS_AT_MOST:
                break
        return names[:_STREAMS_AT_MOST]


def _likeness(stream: str, other: _Stream) -> float:
    return difflib.SequenceMatcher(None, stream, other.name).ratio()


def is_virgin(client: Redis, stream: str) -> bool:
    """Tell whether a stream has never had an entry: one that is empty may have been worked off."""
    untyped: Any = client  # as above
    try:
        return bytes(untyped.xinfo_stream(stream)["last-generated-id"]) == b"0-0"
    except RedisError:
        return False


def _described(client: Redis, name: str) -> _Stream | None:
    """Describe a stream; None if it has nothing that somebody waits for, or may not be read."""
    untyped: Any = client  # as above
    try:
        info = untyped.xinfo_stream(name)
    except RedisError:
        return None
    found = _Stream(name, int(info["length"]), int(info["groups"]))
    return found if found.length or found.groups else None


def _about(stream: _Stream) -> str:
    entries = "1 entry" if stream.length == 1 else f"{stream.length:,} entries"
    groups = "no group" if not stream.groups else "1 group" if stream.groups == 1 else f"{stream.groups} groups"
    return f"{entries}, {groups}"
