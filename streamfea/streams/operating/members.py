"""The members of a consumer group: who they are, whether they live, and forgetting those that are gone."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from redis import Redis
from redis.exceptions import ResponseError

from streamfea.core.durations import to_ms
from streamfea.core.group_ref import GroupRef
from streamfea.streams.connection.clock import server_now_ms
from streamfea.streams.connection.errors import group_is_gone
from streamfea.streams.connection.keys import name_lock_key
from streamfea.streams.connection.names import name_of
from streamfea.streams.connection.scripts import Scripts
from streamfea.streams.consuming.name_lock import NameHolder, NameLock

__all__ = ["Alive", "Member", "forget_all_idle", "forget_if_idle", "is_alive", "members"]

Alive = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Member:
    """A consumer of a group.

    `host` and `pid` are those of the process that consumes under the name. Of one that has not renewed the name for ten
    seconds only the name tells, and then `pid` is the supervisor's. `alive` is `unknown` for what is not one of
    streamfea's. `idle_ms` is the time since the server last heard of it. `running` is the id of the entry whose record
    it has been running for `running_ms`, as of some seconds ago; None when it runs none for longer.
    """

    queue: str
    name: str
    host: str | None
    pid: int | None
    alive: Alive
    pending: int
    idle_ms: int
    last_seen: str
    running: str | None = None
    running_ms: int | None = None
    has_ended: bool = False
    """Whether it certainly has: it was a process of this host and namespace of process ids."""
    namespace: str | None = None


def members(client: Redis, ref: GroupRef) -> list[Member]:
    """Return the consumers of the group by name; none when there is no such group."""
    try:
        replies: Any = client.xinfo_consumers(ref.stream, ref.group)
    except ResponseError as error:
        if group_is_gone(error) or "no such key" in str(error):
            return []
        raise
    names = [name_of(reply["name"]) for reply in replies]
    keys = [name_lock_key(ref, name) for name in names]
    holders: Any = client.mget(keys) if keys else []
    now_ms = server_now_ms(client)
    return sorted(
        (
            _member(ref, name, NameHolder.parse(holder), reply, now_ms)
            for name, holder, reply in zip(names, holders, replies, strict=True)
        ),
        key=lambda member: member.name,
    )


def is_alive(name: bytes, name_lock: bytes | None, idle_ms: int) -> bool:
    """Tell whether a consumer lives, or may live, by its name lock and the time since the server last heard of it."""
    present = NameHolder.parse(name_lock)
    holder = present or NameHolder.named(name_of(name))
    return _alive(holder, idle_ms, is_present=present is not None) != "no"


def forget_if_idle(client: Redis, ref: GroupRef, consumer: str, idle: timedelta) -> bool:
    """Remove one consumer as `forget_all_idle` does; return whether it is gone."""
    return forget_all_idle(client, ref, [consumer], idle) == [True]


def forget_all_idle(client: Redis, ref: GroupRef, consumers: Sequence[str], idle: timedelta) -> list[bool]:
    """Remove consumers for which nothing is pending and which the server has not heard of for `idle`, in one step.

    Returns which are gone. Should one live after all, its next read makes it a member again. The server looks at all
    members each time: some hundred at once hold it up no longer than one.
    """
    if not consumers:
        return []
    arguments = [ref.group, to_ms(idle), *consumers]
    try:
        return [bool(gone) for gone in Scripts(client).run("forget_consumer", [ref.stream], arguments)]
    except ResponseError as error:
        if group_is_gone(error):
            return [True] * len(consumers)
        raise


def _member(ref: GroupRef, name: str, present: NameHolder | None, reply: dict[str, Any], now_ms: int) -> Member:
    holder = present or NameHolder.named(name)
    running = present.running if present else None
    idle_ms = int(reply["idle"])
    seen = datetime.fromtimestamp((now_ms - idle_ms) / 1000, tz=UTC)
    return Member(
        queue=ref.queue,
        name=name,
        host=holder.host if holder else None,
        pid=holder.pid if holder else None,
        alive=_alive(holder, idle_ms, is_present=present is not None),
        pending=int(reply["pending"]),
        idle_ms=idle_ms,
        last_seen=seen.isoformat(timespec="milliseconds"),
        running=running.entry_id if running else None,
        running_ms=max(0, now_ms - running.since_ms) if running else None,
        has_ended=holder is not None and holder.has_ended,
        namespace=(holder.namespace or None) if holder else None,
    )


def _alive(holder: NameHolder | None, idle_ms: int, *, is_present: bool) -> Alive:
    """Tell by the name, which every live process renews; before that, or on a full server, by what was heard of it."""
    if holder is None:
        return "unknown"
    if holder.has_ended:
        return "no"
    was_heard_of = holder.host == socket.gethostname() and idle_ms < to_ms(NameLock.LIFETIME)
    return "yes" if is_present or was_heard_of else "no"
