"""Lists entries that are delivered and not acknowledged."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from redis import Redis
from redis.exceptions import ResponseError

from streamfea.core.durations import to_ms
from streamfea.core.group_ref import GroupRef
from streamfea.streams.connection.clock import age_ms, server_now_ms
from streamfea.streams.connection.errors import group_is_gone
from streamfea.streams.connection.keys import errors_key
from streamfea.streams.connection.names import name_of
from streamfea.streams.consuming.last_error import LastError
from streamfea.streams.operating.members import Member, members

__all__ = ["PendingEntry", "PendingFilter", "pending_entries", "pending_entry"]

State = Literal["in-flight", "retrying", "stranded"]

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class PendingEntry:
    """An entry that was delivered to `consumer` and not acknowledged.

    `idle_ms` is the time since it was last delivered, renewed, or tried, `age_ms` since it was added. `state` is
    `in-flight` while a worker has it, `retrying` while it waits for its next try, which is due in `due_in_ms`,
    `stranded` when nobody has touched it for `claim_idle`, or its worker, on this host, has ended: no worker is there
    to take it over. `running_ms` says for how long its record has been running, as of some seconds ago, in the process
    `pid` on `host`; None when another record of that worker runs, or none for long. `where` is the line of the handler
    that raised `error`.
    """

    queue: str
    id: str
    consumer: str
    idle_ms: int
    age_ms: int
    deliveries: int
    state: State
    error: str | None
    where: str | None = None
    due_in_ms: int | None = None
    running_ms: int | None = None
    host: str | None = None
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class PendingFilter:
    """Which pending entries to look at; the default is all."""

    idle: timedelta = timedelta(0)
    consumer: str | None = None
    min_deliveries: int = 1


def pending_entries(
    client: Redis, ref: GroupRef, claim_idle: timedelta, wanted: PendingFilter
) -> Iterator[PendingEntry]:
    """Yield the pending entries of a group, oldest first, read by pages."""
    start, idle_ms = "-", to_ms(wanted.idle)
    owners = {member.name: member for member in members(client, ref)}
    while page := _page(client, ref, wanted, start):
        now_ms = server_now_ms(client)
        chosen = [delivery for delivery in page if delivery["times_delivered"] >= wanted.min_deliveries]
        ids = [delivery["message_id"] for delivery in chosen]
        errors: Any = client.hmget(errors_key(ref), ids) if ids else []
        for delivery, error in zip(chosen, errors, strict=True):
            entry = _entry(ref, claim_idle, delivery, LastError.from_json(error or b""), owners, now_ms)
            if entry.idle_ms >= idle_ms:  # the server's own filter goes by an idle time that is none
                yield entry
        if len(page) < _PAGE:
            return
        start = f"({page[-1]['message_id'].decode()}"


def pending_entry(
    client: Redis, ref: GroupRef, claim_idle: timedelta, entry_id: str
) -> tuple[PendingEntry, LastError | None] | None:
    """Return one pending entry and its last error whole, if there is one; None when the entry is not pending."""
    replies: Any = client  # redis-py leaves the types of replies open
    try:
        [found] = replies.xpending_range(ref.stream, ref.group, entry_id, entry_id, 1) or [None]
    except ResponseError as error:
        if group_is_gone(error):
            return None
        raise
    if found is None:
        return None
    last_error = LastError.from_json(replies.hget(errors_key(ref), entry_id) or b"")
    owners = {member.name: member for member in members(client, ref)}
    return _entry(ref, claim_idle, found, last_error, owners, server_now_ms(client)), last_error


def _page(client: Redis, ref: GroupRef, wanted: PendingFilter, start: str) -> list[dict[str, Any]]:
    try:
        replies: Any = client  # redis-py leaves the types of replies open
        return list(replies.xpending_range(ref.stream, ref.group, start, "+", _PAGE, wanted.consumer))
    except ResponseError as error:
        if group_is_gone(error):
            return []
        raise


def _entry(
    ref: GroupRef,
    claim_idle: timedelta,
    pending: dict[str, Any],
    last_error: LastError | None,
    owners: Mapping[str, Member],
    now_ms: int,
) -> PendingEntry:
    entry_id = pending["message_id"].decode()
    consumer = name_of(pending["consumer"])
    owner = owners.get(consumer)
    failed = last_error if last_error and last_error.type else None
    waiting = last_error if last_error and not last_error.alone else None
    # While it waits for its next try, the server's idle time is one that makes it due in time.
    idle_ms = max(0, now_ms - waiting.failed_at_ms) if waiting else int(pending["time_since_delivered"])
    state = _state(claim_idle, idle_ms, waiting, owner, now_ms)
    has_it = owner if owner is not None and owner.pid is not None and state == "in-flight" else None
    return PendingEntry(
        queue=ref.queue,
        id=entry_id,
        consumer=consumer,
        idle_ms=idle_ms,
        age_ms=age_ms(entry_id, now_ms),
        deliveries=int(pending["times_delivered"]),
        state=state,
        error=failed.summary if failed else None,
        where=(failed.where or None) if failed else None,
        due_in_ms=max(0, waiting.due_ms - now_ms) if waiting and state == "retrying" else None,
        running_ms=has_it.running_ms if has_it and has_it.running == entry_id else None,
        host=has_it.host if has_it else None,
        pid=has_it.pid if has_it else None,
    )


def _state(claim_idle: timedelta, idle_ms: int, waiting: LastError | None, owner: Member | None, now_ms: int) -> State:
    claim_idle_ms = to_ms(claim_idle)
    if waiting is not None:
        return "retrying" if now_ms < waiting.due_ms + claim_idle_ms else "stranded"
    has_ended = owner is not None and owner.has_ended
    return "in-flight" if idle_ms < claim_idle_ms and not has_ended else "stranded"
