"""Dead letters: looked at, put back on the stream, thrown away."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import regex
from redis import Redis

from streamfea.core.group_ref import GroupRef
from streamfea.errors import StreamfeaError
from streamfea.streams.connection.keys import dead_letters_key
from streamfea.streams.connection.names import name_of
from streamfea.streams.connection.scripts import Scripts
from streamfea.streams.consuming.last_error import LastError

__all__ = [
    "NO_FIELDS",
    "DeadLetter",
    "DeadLetterFilter",
    "Reason",
    "count_dead_letters",
    "dead_letter_pages",
    "dead_letters",
    "dead_letters_of_ids",
    "find_dead_letters",
    "provenance",
    "purge",
    "replay",
]  # fmt: skip

Reason = Literal["rejected", "failed", "crashed", "timeout", "no-record"]

NO_FIELDS = "-"
"""What `replay` returns for a letter that has no fields of its own: its entry was gone when it was buried."""

# What the script says of a letter that it cannot put back.
_LARGE = b"+"
# As a script, whose reply redis-py leaves as it is: a field may be there twice.
_READ = "return redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])"

# What the names of the fields begin with that say where a dead letter comes from. They come after the entry's own, of
# which some may be called likewise; this one comes first.
_PROVENANCE = "streamfea-"
_FIRST = f"{_PROVENANCE}entry-id"
_NAMES = {
    f"{_PROVENANCE}{name}".encode()
    for name in (
        "entry-id", "stream", "group", "queue", "consumer", "deliveries", "reason", "error-type", "error", "traceback",
        "failed-at", "cause",
    )
}  # fmt: skip
# A page that is read, and what one call puts back at most: a few milliseconds of the server's time.
_PAGE = 1000
_PAGE_BYTES = 1 << 20
_REPLAY_BYTES = 1 << 20
# An expression may take for ever on some texts.
_MATCH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An entry that was given up: its id among the dead letters, the id it had, why, and its own fields.

    `failed_at` is in ISO 8601; `deliveries` is how often it had been delivered.
    """

    id: str
    entry_id: str
    reason: str
    error_type: str
    error: str
    traceback: str
    deliveries: int
    failed_at: str
    consumer: str
    cause: str
    fields: dict[bytes, bytes]

    @property
    def summary(self) -> str:
        """The error in one line."""
        return LastError(self.error_type, self.error).summary

    @property
    def where(self) -> str:
        """The line of the handler that raised the error, as in `shop.py:17`; empty where no traceback was kept."""
        return LastError(self.error_type, self.error, self.traceback).where

    @property
    def failed_at_ms(self) -> int:
        """When it was given up, in milliseconds since the epoch; when it was buried if it does not say."""
        try:
            return round(datetime.fromisoformat(self.failed_at).timestamp() * 1000)
        except ValueError:
            return int(self.id.partition("-")[0])


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which dead letters to look at; the default is all.

    `cause` is the beginning of a cause. `match` is searched in the type and text of the error, and in the values of the
    entry's fields. `since_ms` is in milliseconds since the epoch.
    """

    reason: Reason | None = None
    error_type: str | None = None
    match: "regex.Pattern[str] | None" = None
    since_ms: int | None = None
    cause: str | None = None

    def takes(self, letter: DeadLetter) -> bool:
        """Tell whether a letter is wanted."""
        if self.reason is not None and letter.reason != self.reason:
            return False
        if self.error_type is not None and letter.error_type != self.error_type:
            return False
        if self.cause is not None and not letter.cause.startswith(self.cause):
            return False
        if self.since_ms is not None and letter.failed_at_ms < self.since_ms:
            return False
        return self.match is None or any(_finds(self.match, text, letter) for text in _texts(letter))


def count_dead_letters(client: Redis, ref: GroupRef) -> int:
    """Return how many dead letters a group has."""
    return int(client.xlen(dead_letters_key(ref)))


def dead_letters(client: Redis, ref: GroupRef, first: str = "-", last: str | None = None) -> Iterator[DeadLetter]:
    """Yield the dead letters of a group, oldest first, as many as there are now, or from `first` to `last`."""
    for page in dead_letter_pages(client, ref, first, last):
        yield from page


def dead_letter_pages(
    client: Redis, ref: GroupRef, first: str = "-", last: str | None = None
) -> Iterator[list[DeadLetter]]:
    """Yield the dead letters of a group, oldest first, as many as there are now, or from `first` to `last`, in pages.

    What is buried meanwhile is not among them, so that replaying comes to an end although a handler may still fail.
    """
    replies: Any = client  # redis-py leaves the types of replies open
    key = dead_letters_key(ref)
    start, count = first, 1
    last = last or _newest(client, key)
    while last and (page := replies.xrange(key, start, last, count=count)):
        yield [_dead_letter(letter_id, fields) for letter_id, fields in page]
        start = f"({page[-1][0].decode()}"
        size = sum(len(value) for _, fields in page for value in fields.values()) // len(page)
        count = max(1, min(_PAGE, 10 * count, _PAGE_BYTES // (size + 1)))


def find_dead_letters(client: Redis, ref: GroupRef, ids: Sequence[str]) -> dict[str, list[DeadLetter]]:
    """Return, for each id, the dead letter that has it; if none does, those of the entry that had it, or none.

    Looks through all dead letters if it has to.
    """
    found = dead_letters_of_ids(client, ref, ids)
    others = {wanted_id for wanted_id, letters in found.items() if not letters}
    if others:
        for letter in dead_letters(client, ref):
            if letter.entry_id in others:
                found[letter.entry_id].append(letter)
    return found


def dead_letters_of_ids(client: Redis, ref: GroupRef, ids: Sequence[str]) -> dict[str, list[DeadLetter]]:
    """Return, for each id, the dead letter that has it, if there is one."""
    key = dead_letters_key(ref)
    found: dict[str, list[DeadLetter]] = {}
    for start in range(0, len(ids), _PAGE):
        part = ids[start : start + _PAGE]
        with client.pipeline(transaction=False) as pipeline:
            for wanted_id in part:
                pipeline.xrange(key, wanted_id, wanted_id)
            for wanted_id, replies in zip(part, pipeline.execute(), strict=True):
                found[wanted_id] = [_dead_letter(letter_id, fields) for letter_id, fields in replies]
    return found


def replay(client: Redis, ref: GroupRef, letter_ids: Sequence[str]) -> list[str]:
    """Put letters' own fields back at the end of the stream and remove the letters, each in one step with the other.

    Does some of them, as many as the server can do in a moment, at least one. Returns for each of these, in order, the
    id of the entry it has become, `NO_FIELDS`, or nothing if there is no such letter any more. What comes back is a new
    entry, whose deliveries are counted from 0.
    """
    dead, stream = dead_letters_key(ref), ref.stream
    replies: list[bytes] = Scripts(client).run("replay", [dead, stream], [_REPLAY_BYTES, _FIRST, *letter_ids])
    if replies == [_LARGE]:
        return [_replay_large(client, dead, stream, letter_ids[0])]
    return [entry_id.decode() for entry_id in replies]


def purge(client: Redis, ref: GroupRef, letter_ids: Sequence[str]) -> int:
    """Remove letters for good; return how many there were."""
    return int(client.xdel(dead_letters_key(ref), *letter_ids))


def provenance(
    ref: GroupRef,
    entry_id: str,
    *,
    consumer: str,
    deliveries: int,
    reason: Reason,
    last_error: LastError,
    failed_at_ms: int,
) -> dict[str, str | int]:
    """Return the fields that say where a dead letter comes from, as `GroupConsumer.bury` takes them."""
    return {
        "entry-id": entry_id,
        "stream": ref.stream,
        "group": ref.group,
        "queue": ref.queue,
        "consumer": consumer,
        "deliveries": deliveries,
        "reason": reason,
        "error-type": last_error.type,
        "error": last_error.error,
        "traceback": last_error.traceback,
        "failed-at": datetime.fromtimestamp(failed_at_ms / 1000, tz=UTC).isoformat(timespec="milliseconds"),
        "cause": last_error.cause,
    }


def _replay_large(client: Redis, dead: str, stream: str, letter_id: str) -> str:
    """Put back a letter that has more fields than a script can pass on, and remove it, in one step."""
    untyped: Any = client  # as above

    def put_back(pipeline: Any) -> None:
        letters = pipeline.eval(_READ, 1, dead, letter_id)
        pipeline.multi()
        for _, parts in letters:
            ours = [place for place, name in enumerate(parts[::2]) if name == _FIRST.encode()]
            own = parts[: 2 * ours[-1]] if ours else parts
            pipeline.xdel(dead, "0-0")  # refused at once if this user may not remove entries
            pipeline.execute_command("XADD", stream, "*", *own)
            Scripts(pipeline).run("remove_replayed", [dead, stream], [letter_id, len(own)])

    added = untyped.transaction(put_back, dead)
    return added[1].decode() if added else ""


def _newest(client: Redis, key: str) -> str | None:
    replies: Any = client  # as above
    newest = replies.xrevrange(key, count=1)
    return newest[0][0].decode() if newest else None


def _finds(match: "regex.Pattern[str]", text: str, letter: DeadLetter) -> bool:
    """Tell whether an expression is found in a text; raise `StreamfeaError` when that takes too long."""
    try:
        return match.search(text, timeout=_MATCH_SECONDS) is not None
    except TimeoutError:
        raise StreamfeaError(
            f"--match takes too long on dead letter {letter.id}",
            remedy="write it without repetitions of repetitions, as in (a+)+",
        ) from None


def _texts(letter: DeadLetter) -> Iterator[str]:
    yield f"{letter.error_type}: {letter.error}"
    for value in letter.fields.values():
        yield value.decode("utf-8", "backslashreplace")


def _dead_letter(letter_id: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
    def says(name: str) -> str:
        return fields.get(f"{_PROVENANCE}{name}".encode(), b"").decode("utf-8", "replace")

    deliveries = says("deliveries")
    return DeadLetter(
        id=letter_id.decode(),
        entry_id=says("entry-id"),
        reason=says("reason"),
        error_type=says("error-type"),
        error=says("error"),
        traceback=says("traceback"),
        deliveries=int(deliveries) if deliveries.isdecimal() else 0,
        failed_at=says("failed-at"),
        consumer=name_of(fields.get(f"{_PROVENANCE}consumer".encode(), b"")),
        cause=says("cause"),
        fields={name: value for name, value in fields.items() if name not in _NAMES},
    )
