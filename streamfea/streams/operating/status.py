"""The figures of `streamfea status`."""

from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from streamfea.config.sections import Queue
from streamfea.core.group_ref import GroupRef
from streamfea.streams.connection.clock import age_ms, as_ms
from streamfea.streams.connection.errors import group_is_gone, told
from streamfea.streams.connection.keys import dead_letters_key, errors_key
from streamfea.streams.connection.scripts import Scripts
from streamfea.streams.consuming.leftovers import count_retrying
from streamfea.streams.operating.members import members

__all__ = ["QueueStatus", "group_info", "queue_status"]

# At most this many entries are counted one by one on the server: some ten milliseconds.
_COUNT_AT_MOST = 10_000


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The figures of one queue at one moment.

    `length` is the number of entries in the stream, `lag` how many of them the group has not been given yet (a
    bound, unless `lag_exact`), `lag_ms` the time since the oldest of these was added, `pending` how many it was given
    and has not acknowledged, `retrying` how many of these have failed or are tried again, `dead` the
    number of dead letters; `oldest_pending_ms` is the time since the oldest pending entry was added. `consumers` counts
    those that live. `legacy_backlog` is the number of elements in the lists that feed the stream, None when there are
    none. `error` says what keeps some of it from being known, or the queue from working.
    """

    queue: str
    stream: str
    group: str
    length: int
    lag: int
    lag_ms: int | None
    lag_exact: bool
    entries_read: int | None
    pending: int
    retrying: int
    dead: int
    oldest_pending_ms: int | None
    consumers: int
    legacy_backlog: int | None
    error: str | None = None

    @property
    def oldest_ms(self) -> int | None:
        """The time since the oldest entry was added that is not done."""
        return max((age_ms for age_ms in (self.lag_ms, self.oldest_pending_ms) if age_ms is not None), default=None)

    @property
    def lag_text(self) -> str:
        """The lag as people read it, marked where it is only a bound."""
        return f"{self.lag:,}" if self.lag_exact else f"≤{self.lag:,}"

    @property
    def waits_for_a_worker(self) -> bool:
        """Whether there is work and nobody to do it."""
        return not self.consumers and bool(self.lag or self.pending or self.legacy_backlog)


def queue_status(client: Redis, queue: Queue) -> QueueStatus:
    """Return the figures of `queue`; a stream or a group that does not exist yet has a truthful set of them, too.

    Raises what redis-py raises when the server, or the stream, will not tell.
    """
    length, groups, summary, errors, dead, time, *lists = _at_one_moment(client, queue)
    group = _group(queue.ref, groups)
    now_ms = as_ms(time)
    pending, oldest = _pending(summary)
    lag, exact = _lag(client, queue.stream, int(_known(length)), group)
    first = _first_after(client, queue.stream, group) if lag else None
    backlog, error = _backlog(queue, lists)
    return QueueStatus(
        queue=queue.name,
        stream=queue.stream,
        group=queue.group,
        length=int(_known(length)),
        lag=lag,
        lag_ms=None if first is None else age_ms(first, now_ms),
        lag_exact=exact,
        entries_read=group.get("entries-read") if group else 0,
        pending=pending,
        retrying=count_retrying(client, queue.ref, rows=int(_known(errors)), pending=pending),
        dead=int(_known(dead)),
        oldest_pending_ms=None if oldest is None else age_ms(oldest, now_ms),
        consumers=sum(member.alive != "no" for member in members(client, queue.ref)) if group else 0,
        legacy_backlog=backlog,
        error=error,
    )


def group_info(client: Redis, ref: GroupRef) -> dict[str, Any] | None:
    """Return the server's figures of the group; None if there is no such group."""
    try:
        return _group(ref, client.xinfo_groups(ref.stream))
    except ResponseError as error:
        return _group(ref, error)


def _at_one_moment(client: Redis, queue: Queue) -> list[Any]:
    """Return the replies, or errors, to all questions that need no other's answer, as of one moment."""
    with client.pipeline(transaction=True) as pipeline:
        pipeline.xlen(queue.stream)
        pipeline.xinfo_groups(queue.stream)
        pipeline.xpending(queue.stream, queue.group)
        pipeline.hlen(errors_key(queue.ref))
        pipeline.xlen(dead_letters_key(queue.ref))
        pipeline.time()
        for key in queue.legacy_lists:
            pipeline.llen(key)
        return pipeline.execute(raise_on_error=False)


def _known(reply: Any) -> Any:
    """Return a reply; raise the error that it is."""
    if isinstance(reply, Exception):
        raise reply
    return reply


def _group(ref: GroupRef, groups: Any) -> dict[str, Any] | None:
    if isinstance(groups, ResponseError) and "no such key" in str(groups):
        return None
    return next((group for group in _known(groups) if group["name"] == ref.group.encode()), None)


def _pending(summary: Any) -> tuple[int, str | None]:
    """Return how many entries are pending and the id of the oldest."""
    if isinstance(summary, ResponseError) and group_is_gone(summary):
        return 0, None
    oldest = _known(summary)["min"]
    return int(summary["pending"]), oldest.decode() if oldest else None


def _backlog(queue: Queue, lengths: list[Any]) -> tuple[int | None, str | None]:
    """Return how many elements wait in a queue's lists, and the problem of these."""
    wrong = [
        (key, reply) for key, reply in zip(queue.legacy_lists, lengths, strict=True) if isinstance(reply, RedisError)
    ]
    if wrong:
        key, error = wrong[0]
        setting = "legacy_list" if key == queue.legacy_list else "legacy_errors"
        return None, f"{setting} {key}: {told(error)}"
    return (sum(map(int, lengths)) if lengths else None), None


def _lag(client: Redis, stream: str, length: int, group: dict[str, Any] | None) -> tuple[int, bool]:
    """Return the lag and whether it is exact.

    The server's own figure is nil or wrong after entries were deleted or the group was moved (redis#13957), and 6.2
    has none. So a lag that is small enough is counted; a larger one is the server's word, capped by what is in the
    stream at all.
    """
    if group is None:
        return length, True
    counted = int(Scripts(client).run("count_after", [stream], [_after(group), _COUNT_AT_MOST]))
    if counted < _COUNT_AT_MOST:
        return counted, True
    told = group.get("lag")
    if told is None or not counted <= told <= length:
        return length, length == counted
    return int(told), True


def _first_after(client: Redis, stream: str, group: dict[str, Any] | None) -> str | None:
    """Return the id of the oldest entry that the group was not given yet."""
    replies: Any = client.xrange(stream, _after(group) if group else "-", "+", count=1)
    return replies[0][0].decode() if replies else None


def _after(group: dict[str, Any]) -> str:
    return f"({group['last-delivered-id'].decode()}"
