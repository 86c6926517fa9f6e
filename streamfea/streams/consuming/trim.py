"""Removes what every group of a stream has acknowledged, in slices of about a millisecond."""

from collections.abc import Iterator
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from streamfea.config.retention import ACKED, Retention
from streamfea.core.durations import to_ms
from streamfea.core.group_ref import GroupRef
from streamfea.streams.connection.scripts import Scripts
from streamfea.streams.consuming.marks import MARK_PREFIX, is_mark

__all__ = ["Trimmer", "count_acknowledged", "first_id", "is_read"]

# Entries that one call removes at most, in whole nodes: a fraction of a millisecond.
_REMOVE_AT_MOST = 10_000
# Entries that one call looks at one by one at most: about a millisecond.
_LOOK_AT_MOST = 500
_BEGINNING = "-"


class Trimmer:
    """Removes acknowledged entries of one stream as a retention says; each call is one atomic step on the server.

    An entry that any group has not acknowledged, or has not been given yet, stays. A stream that no group reads is
    left alone, and so is one that the group of `ref` does not read, if that names a group: one that is gone will be
    created again, at the beginning.
    """

    def __init__(self, client: Redis, ref: GroupRef, retention: Retention = ACKED) -> None:
        self._scripts = Scripts(client)
        self._stream = ref.stream
        self._group = ref.group
        self._limits = [to_ms(retention.age), retention.length]
        self._between = _BEGINNING

    def trim(self) -> int:
        """Remove some entries before the first unacknowledged one; return how many, 0 at the end."""
        arguments = [*self._limits, _REMOVE_AT_MOST, _LOOK_AT_MOST, self._group, MARK_PREFIX]
        return int(self._scripts.run("trim", [self._stream], arguments))

    def trim_between(self) -> int:
        """Remove acknowledged entries from the next page behind that; return how many.

        Looks at all entries, a page a call, so that one that stays pending for hours does not keep all after it.
        """
        arguments = [self._between, *self._limits, _LOOK_AT_MOST, 1, self._group]
        removed, self._between = _between(self._scripts, self._stream, arguments)
        return removed

    @property
    def between_finished(self) -> bool:
        """Whether the last `trim_between` has reached the last entry that every group was given."""
        return self._between == _BEGINNING

    def trim_all(self) -> Iterator[int]:
        """Remove all that may be removed; yield how many went with each slice."""
        while removed := self.trim():
            yield removed
        self._between = _BEGINNING
        yield self.trim_between()
        while not self.between_finished:
            yield self.trim_between()


def count_acknowledged(client: Redis, ref: GroupRef) -> Iterator[int]:
    """Yield how many entries every group has acknowledged, a page of the stream at a time; changes nothing.

    None have been while the group of `ref` does not exist.
    """
    scripts = Scripts(client)
    start: str | None = None
    while start != _BEGINNING:
        counted, start = _between(scripts, ref.stream, [start or _BEGINNING, 0, 0, _LOOK_AT_MOST, 0, ref.group])
        yield counted


def is_read(client: Redis, stream: str) -> bool:
    """Tell whether any group reads the stream."""
    if not client.exists(stream):
        return False
    replies: Any = client  # redis-py leaves the types of replies open
    return any(not is_mark(info["name"]) for info in replies.xinfo_groups(stream))


def first_id(client: Redis, stream: str) -> str | None:
    """Return the oldest id that the stream holds or, when it is empty, can give; None when there is no stream."""
    replies: Any = client  # redis-py leaves the types of replies open
    try:
        about = replies.xinfo_stream(stream)
    except ResponseError as error:
        if "no such key" not in str(error):
            raise
        return None
    if about["first-entry"]:
        return str(about["first-entry"][0].decode())
    ms, _, seq = about["last-generated-id"].decode().partition("-")
    return f"{ms}-{int(seq) + 1}"


def _between(scripts: Scripts, stream: str, arguments: list[Any]) -> tuple[int, str]:
    number, following = scripts.run("trim_between", [stream], [*arguments, MARK_PREFIX])
    return int(number), following.decode() or _BEGINNING
