"""What was delivered and is not acknowledged, as people look at it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from redis import Redis
from redis.exceptions import ResponseError

from streamfea.durations import to_ms
from streamfea.settings import Queue
from streamfea.streams.faults import group_is_gone
from streamfea.streams.keys import errors_key
from streamfea.streams.lasterror import LastError
from streamfea.streams.status import age_ms, server_now_ms

__all__ = ["PendingEntry", "PendingFilter", "pending_entries", "pending_entry"]

State = Literal["in-flight", "retrying", "stranded"]

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class PendingEntry:
    """An entry that was delivered to `consumer` and not acknowledged.

    `idle_ms` is the time since it was last delivered or renewed, `age_ms` since it was added. `state` is `in-flight`
    while a worker has it, `retrying` while it waits for its next try, `stranded` when nobody has touched it for
    `claim_idle`: no worker is there to take it over.
    """

    queue: str
    id: str
    consumer: str
    idle_ms: int
    age_ms: int
    deliveries: int
    state: State
    error: str | None


@dataclass(frozen=True, slots=True)
class PendingFilter:
    """Which pending entries to look at; the default is all."""

    idle: timedelta = timedelta(0)
    consumer: str | None = None
    min_deliveries: int = 1


def pending_entries(client: Redis, queue: Queue, wanted: PendingFilter) -> Iterator[PendingEntry]:
    """Yield what is pending in `queue`, oldest first, a page of the server's list at a time."""
    start = "-"
    while page := _page(client, queue, wanted, start):
        now_ms = server_now_ms(client)
        chosen = [one for one in page if one["times_delivered"] >= wanted.min_deliveries]
        ids = [one["message_id"] for one in chosen]
        errors: Any = client.hmget(errors_key(queue.stream, queue.group), ids) if ids else []
        for one, error in zip(chosen, errors, strict=True):
            yield _entry(queue, one, LastError.from_json(error or b""), now_ms)
        if len(page) < _PAGE:
            return
        start = f"({page[-1]['message_id'].decode()}"


def pending_entry(client: Redis, queue: Queue, entry_id: str) -> tuple[PendingEntry, LastError | None] | None:
    """Return one pending entry and its last error whole, if there is one; None when the entry is not pending."""
    replies: Any = client  # redis-py leaves the types of replies open
    try:
        [found] = replies.xpending_range(queue.stream, queue.group, entry_id, entry_id, 1) or [None]
    except ResponseError as error:
        if group_is_gone(error):
            return None
        raise
    if found is None:
        return None
    last_error = LastError.from_json(replies.hget(errors_key(queue.stream, queue.group), entry_id) or b"")
    return _entry(queue, found, last_error, server_now_ms(client)), last_error


def _page(client: Redis, queue: Queue, wanted: PendingFilter, start: str) -> list[dict[str, Any]]:
    try:
        replies: Any = client  # redis-py leaves the types of replies open
        return list(
            replies.xpending_range(
                queue.stream, queue.group, start, "+", _PAGE, wanted.consumer, to_ms(wanted.idle) or None
            )
        )
    except ResponseError as error:
        if group_is_gone(error):
            return []
        raise


def _entry(queue: Queue, pending: dict[str, Any], last_error: LastError | None, now_ms: int) -> PendingEntry:
    entry_id = pending["message_id"].decode()
    idle_ms = int(pending["time_since_delivered"])
    return PendingEntry(
        queue=queue.name,
        id=entry_id,
        consumer=pending["consumer"].decode("utf-8", "backslashreplace"),
        idle_ms=idle_ms,
        age_ms=age_ms(entry_id, now_ms),
        deliveries=int(pending["times_delivered"]),
        state=_state(queue, idle_ms, last_error, now_ms),
        error=last_error.summary if last_error and last_error.type else None,
    )


def _state(queue: Queue, idle_ms: int, last_error: LastError | None, now_ms: int) -> State:
    claim_idle_ms = to_ms(queue.claim_idle)
    if last_error is not None and not last_error.alone:
        return "retrying" if now_ms < last_error.due_ms + claim_idle_ms else "stranded"
    return "in-flight" if idle_ms < claim_idle_ms else "stranded"
