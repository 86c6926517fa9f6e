"""Failures by their cause: dead letters, and entries that wait for another try."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from redis import Redis

from streamfea.core.group_ref import GroupRef
from streamfea.streams.connection.keys import dead_letters_key, errors_key
from streamfea.streams.connection.scripts import Scripts
from streamfea.streams.consuming.last_error import LastError
from streamfea.streams.operating.dead_letters import dead_letters_of_ids

__all__ = ["Cause", "count_causes", "entries_of_cause"]

_FIRST_PAGE, _LARGEST_PAGE = 50, 1_000
# A call that takes longer has the next one look at fewer letters: the server does nothing else meanwhile.
_CALL_SECONDS = 0.02
_SCANNED_AT_ONCE = 500
_FIELD = "streamfea-cause"


@dataclass(slots=True)
class Cause:
    """Failures of one cause: how many are dead letters, how many are retried, and one of them as a sample.

    `first_ms` and `last_ms` are milliseconds since the epoch. Of an entry that is retried, its last failure counts.
    """

    cause: str
    error_type: str
    error: str
    where: str
    dead: int
    retrying: int
    first_ms: int
    last_ms: int
    sample_id: str
    sample_is: Literal["dead", "pending"]

    @property
    def count(self) -> int:
        """How many failures there are."""
        return self.dead + self.retrying

    @property
    def summary(self) -> str:
        """The sample's error in one line."""
        return LastError(self.error_type, self.error).summary


class _Found(dict[str, Cause]):
    """The causes found so far."""

    def note(self, other: Cause) -> None:
        """Add failures."""
        known = self.setdefault(other.cause, other)
        if known is other:
            return
        known.dead += other.dead
        known.retrying += other.retrying
        known.first_ms, known.last_ms = min(known.first_ms, other.first_ms), max(known.last_ms, other.last_ms)


def count_causes(client: Redis, ref: GroupRef, since_ms: int = 0) -> Iterator[int | list[Cause]]:
    """Count a group's failures since a time in milliseconds; yield how many each step counted, then the causes.

    Dead letters are counted on the server. Memory holds a cause, not its failures.
    """
    found = _Found()
    yield from _count_dead(client, ref, since_ms, found)
    _describe(client, ref, found)
    for page in _failed_entries(client, ref):
        for entry_id, error in page:
            if error.failed_at_ms >= since_ms:
                found.note(_retried(entry_id, error))
        yield len(page)
    yield sorted(found.values(), key=lambda cause: (-cause.count, cause.first_ms))


def entries_of_cause(client: Redis, ref: GroupRef, cause: str) -> Iterator[str]:
    """Yield the ids of entries whose last failure has a cause that begins with `cause`."""
    for page in _failed_entries(client, ref):
        yield from (entry_id for entry_id, error in page if error.cause.startswith(cause))


def _count_dead(client: Redis, ref: GroupRef, since_ms: int, found: _Found) -> Iterator[int]:
    scripts, keys = Scripts(client), [dead_letters_key(ref)]
    newest: Any = client.xrevrange(keys[0], count=1)
    if not newest:
        return
    start, last, size = str(since_ms), newest[0][0], _FIRST_PAGE
    while True:
        began = time.monotonic()
        _, _, number, _, end, *causes = scripts.run("count_dead", keys, [start, last, size, _FIELD])
        seconds = time.monotonic() - began
        for cause, count, first_id, last_id in causes:
            first_ms, last_ms = (int(letter_id.partition(b"-")[0]) for letter_id in (first_id, last_id))
            found.note(Cause(cause.decode(), "", "", "", count, 0, first_ms, last_ms, first_id.decode(), "dead"))
        yield number
        if number < size:
            return
        start = f"({end.decode()}"
        size = max(1, size // 2) if seconds > _CALL_SECONDS else min(_LARGEST_PAGE, 2 * size)


def _describe(client: Redis, ref: GroupRef, found: _Found) -> None:
    """Give each cause the error of its first dead letter."""
    samples = dead_letters_of_ids(client, ref, [cause.sample_id for cause in found.values()])
    for cause in found.values():
        for letter in samples[cause.sample_id]:
            cause.error_type, cause.error, cause.where = letter.error_type, letter.error, letter.where


def _failed_entries(client: Redis, ref: GroupRef) -> Iterator[list[tuple[str, LastError]]]:
    """Yield entries whose last run failed, in pages."""
    cursor, untyped = 0, client  # redis-py leaves the types of replies open
    while True:
        scanned: Any = untyped.hscan(errors_key(ref), cursor, count=_SCANNED_AT_ONCE)
        cursor, rows = scanned
        parsed = ((entry_id.decode(), LastError.from_json(text)) for entry_id, text in rows.items())
        yield [(entry_id, error) for entry_id, error in parsed if error is not None and error.type]
        if not cursor:
            return


def _retried(entry_id: str, error: LastError) -> Cause:
    at = error.failed_at_ms
    return Cause(error.cause, error.type, error.error, error.where, 0, 1, at, at, entry_id, "pending")
