"""Dead letters, as people look at them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from redis import Redis

from streamfea.settings import Queue
from streamfea.streams.keys import dead_letters_key

__all__ = ["PROVENANCE", "DeadLetter", "dead_letters"]

PROVENANCE = "streamfea-"
"""What the names of the fields begin with that say where a dead letter comes from; the others are the entry's own."""

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An entry that was given up: its id among the dead letters, the id it had, why, and its own fields."""

    id: str
    entry_id: str
    reason: str
    error_type: str
    error: str
    deliveries: int
    failed_at: str
    consumer: str
    fields: dict[bytes, bytes]


def dead_letters(client: Redis, queue: Queue) -> Iterator[DeadLetter]:
    """Yield the dead letters of `queue`, oldest first."""
    start = "-"
    replies: Any = client  # redis-py leaves the types of replies open
    while page := replies.xrange(dead_letters_key(queue.stream, queue.group), start, "+", count=_PAGE):
        for letter_id, fields in page:
            yield _dead_letter(letter_id.decode(), fields)
        start = f"({page[-1][0].decode()}"


def _dead_letter(letter_id: str, fields: dict[bytes, bytes]) -> DeadLetter:
    def provenance(name: str) -> str:
        return fields.get(f"{PROVENANCE}{name}".encode(), b"").decode("utf-8", "replace")

    return DeadLetter(
        id=letter_id,
        entry_id=provenance("entry-id"),
        reason=provenance("reason"),
        error_type=provenance("error-type"),
        error=provenance("error"),
        deliveries=int(provenance("deliveries") or 0),
        failed_at=provenance("failed-at"),
        consumer=provenance("consumer"),
        fields={name: value for name, value in fields.items() if not name.startswith(PROVENANCE.encode())},
    )
