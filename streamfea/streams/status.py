"""How far a queue's group has come: the figures of `streamfea status`."""

from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from streamfea.settings import Queue
from streamfea.streams.faults import group_is_gone
from streamfea.streams.keys import dead_letters_key, errors_key
from streamfea.streams.scripts import Scripts
from streamfea.streams.shim import legacy_backlog

__all__ = ["QueueStatus", "age_ms", "group_info", "queue_status", "server_now_ms"]

# So many entries are counted one by one at most, on the server: some ten milliseconds.
_COUNT_AT_MOST = 10_000


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """One queue at one moment.

    `length` is the number of entries in the stream, `lag` how many of them the group has not been given yet (a
    bound, unless `lag_exact`), `pending` how many it was given and has not acknowledged, `retrying` how many of
    these have failed at least once, `dead` the number of dead letters; `oldest_pending_ms` is the time since the
    oldest pending entry was added. `legacy_backlog` is the number of elements in the lists that feed the stream, None
    when there are none.
    """

    queue: str
    stream: str
    group: str
    length: int
    lag: int
    lag_exact: bool
    pending: int
    retrying: int
    dead: int
    oldest_pending_ms: int | None
    consumers: int
    legacy_backlog: int | None


def queue_status(client: Redis, queue: Queue) -> QueueStatus:
    """Return the figures of `queue`; a stream or a group that does not exist yet has a truthful set of them, too."""
    length = client.xlen(queue.stream)
    group = group_info(client, queue)
    pending, oldest = _pending(client, queue)
    lag, exact = _lag(client, queue, length, group)
    return QueueStatus(
        queue=queue.name,
        stream=queue.stream,
        group=queue.group,
        length=length,
        lag=lag,
        lag_exact=exact,
        pending=pending,
        retrying=client.hlen(errors_key(queue.stream, queue.group)),
        dead=client.xlen(dead_letters_key(queue.stream, queue.group)),
        oldest_pending_ms=None if oldest is None else age_ms(oldest, server_now_ms(client)),
        consumers=int(group["consumers"]) if group else 0,
        legacy_backlog=legacy_backlog(client, queue),
    )


def group_info(client: Redis, queue: Queue) -> dict[str, Any] | None:
    """Return what the server tells of the queue's group; None when there is no such group."""
    try:
        groups = client.xinfo_groups(queue.stream)
    except ResponseError as error:
        if "no such key" in str(error):
            return None
        raise
    return next((group for group in groups if group["name"].decode() == queue.group), None)


def server_now_ms(client: Redis) -> int:
    """Return milliseconds since the epoch on the server's clock."""
    seconds, microseconds = client.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def age_ms(entry_id: str, now_ms: int) -> int:
    """Return how long ago an entry was added, by the milliseconds in its id."""
    return max(0, now_ms - int(entry_id.partition("-")[0]))


def _pending(client: Redis, queue: Queue) -> tuple[int, str | None]:
    """Return how many entries are pending and the id of the oldest."""
    try:
        summary = client.xpending(queue.stream, queue.group)
    except ResponseError as error:
        if group_is_gone(error):
            return 0, None
        raise
    oldest = summary["min"]
    return int(summary["pending"]), oldest.decode() if oldest else None


def _lag(client: Redis, queue: Queue, length: int, group: dict[str, Any] | None) -> tuple[int, bool]:
    """Return the lag and whether it is exact.

    The server's own figure is nil or wrong after entries were deleted or the group was moved (redis#13957), and 6.2
    has none. So a lag that is small enough is counted; a larger one is the server's word, capped by what is in the
    stream at all.
    """
    if group is None:
        return length, True
    last = group["last-delivered-id"].decode()
    counted = int(Scripts(client).run("count_after", [queue.stream], [f"({last}", _COUNT_AT_MOST]))
    if counted < _COUNT_AT_MOST:
        return counted, True
    told = group.get("lag")
    if told is None or not counted <= told <= length:
        return length, length == counted
    return int(told), True
