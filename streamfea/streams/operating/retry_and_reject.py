"""Makes pending entries due at once, or moves them to the dead letters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from redis import Redis
from redis.exceptions import ResponseError

from streamfea.core.durations import to_ms
from streamfea.core.entry import Entry
from streamfea.core.group_ref import GroupRef
from streamfea.streams.connection.clock import server_now_ms
from streamfea.streams.connection.errors import group_is_gone
from streamfea.streams.connection.keys import errors_key
from streamfea.streams.connection.names import name_of
from streamfea.streams.connection.scripts import Scripts
from streamfea.streams.consuming.group import GroupConsumer
from streamfea.streams.consuming.last_error import LastError
from streamfea.streams.operating.dead_letters import provenance
from streamfea.streams.operating.members import members
from streamfea.streams.operating.pending import pending_entry

__all__ = ["Intervention", "InterventionResult", "consumers_not_at_work", "make_due", "reject"]

InterventionResult = Literal["due", "rejected", "in hand", "not pending"]

_BY_OPERATOR = LastError.of("RejectedByOperator", "rejected by an operator; it had not failed before")
# An entry may go from worker to worker while we look; so often we look again.
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Intervention:
    """What became of an entry that an operator wants due, or rejected.

    `consumer` has it and was heard of `idle_ms` ago on its behalf, if it is pending. `in_hand`: that consumer may be
    running it right now.
    """

    id: str
    result: InterventionResult
    consumer: str = ""
    idle_ms: int = 0
    in_hand: bool = False


def consumers_not_at_work(client: Redis, ref: GroupRef) -> list[str]:
    """Return the group's consumers that certainly run nothing.

    Those are processes of this host that have ended, and names that no process has.
    """
    return [member.name for member in members(client, ref) if member.pid is None or member.has_ended]


def make_due(
    client: Redis,
    ref: GroupRef,
    claim_idle: timedelta,
    entry_ids: Sequence[str],
    not_at_work: Sequence[str],
    *,
    force: bool = False,
) -> Iterator[Intervention]:
    """Have pending entries claimed by the next worker that looks, within a second.

    Not those that a worker may be running (it has them for less than `claim_idle` and is not among `not_at_work`):
    they would run twice. With `force` those, too.
    """
    keys = [ref.stream, errors_key(ref)]
    arguments: list[Any] = [ref.group, to_ms(claim_idle), int(force), len(not_at_work), *not_at_work]
    try:
        replies = Scripts(client).run("make_due", keys, [*arguments, *entry_ids])
    except ResponseError as error:
        if not group_is_gone(error):
            raise
        replies = [[b"not pending"]] * len(entry_ids)
    for entry_id, (result, *about) in zip(entry_ids, replies, strict=True):
        consumer, idle_ms = (name_of(about[0]), int(about[1])) if about else ("", 0)
        yield Intervention(entry_id, result.decode(), consumer, idle_ms, in_hand=result == b"in hand")


def reject(
    client: Redis, ref: GroupRef, claim_idle: timedelta, entry_id: str, not_at_work: Sequence[str]
) -> Intervention:
    """Move a pending entry to the dead letters, in one step, with the last error if it has one.

    Also one that a worker may be running (`in_hand`): what that run writes may still be committed, but whatever
    becomes of it, it will not be tried again.
    """
    for _ in range(_TRIES):
        found = pending_entry(client, ref, claim_idle, entry_id)
        if found is None:
            break
        pending, last_error = found
        known = last_error if last_error and last_error.type else _BY_OPERATOR
        origin = provenance(
            ref,
            entry_id,
            consumer=pending.consumer,
            deliveries=pending.deliveries,
            reason="rejected",
            last_error=known,
            failed_at_ms=server_now_ms(client),
        )
        entry = Entry(ref.queue, ref.stream, entry_id, _fields(client, ref, entry_id))
        [buried] = GroupConsumer(client, ref, pending.consumer, claim_idle).bury([(entry, origin)])
        if buried:
            in_hand = pending.state == "in-flight" and pending.consumer not in not_at_work
            return Intervention(entry_id, "rejected", pending.consumer, pending.idle_ms, in_hand=in_hand)
    return Intervention(entry_id, "not pending")


def _fields(client: Redis, ref: GroupRef, entry_id: str) -> dict[bytes, bytes]:
    """Return the fields of an entry, if the stream still has it."""
    untyped: Any = client  # redis-py leaves the types of replies open
    return next((dict(fields) for _, fields in untyped.xrange(ref.stream, entry_id, entry_id)), {})
