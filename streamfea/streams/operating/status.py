"""The figures of `streamfea status`, of many queues at once, and cheap: some five commands of Redis a queue."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from redis import Redis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from streamfea.config.sections import Queue
from streamfea.core.durations import to_ms
from streamfea.core.group_ref import GroupRef
from streamfea.streams.connection.clock import age_ms, as_ms
from streamfea.streams.connection.errors import told
from streamfea.streams.connection.keys import dead_letters_key, errors_key, name_lock_key
from streamfea.streams.connection.names import name_of
from streamfea.streams.connection.scripts import Scripts
from streamfea.streams.consuming.leftovers import COUNT_AT_MOST, count_retrying
from streamfea.streams.operating.members import is_alive

__all__ = ["QueueStatus", "StatusReader", "group_info", "queue_status"]

# At most this many entries are looked at one by one on the server: some ten milliseconds.
_LOOK_AT_MOST = 10_000
# The same for what takes longer to copy: rows with errors, and entries where the server has a figure of the lag itself.
_ROWS_AT_MOST = 1_000
_COUNT_AT_MOST = 1_000


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The figures of one queue at one moment.

    `length` is the number of entries in the stream, `lag` how many of them the group has not been given yet (a
    bound, unless `lag_exact`), `lag_ms` the time since the oldest of these was added, `pending` how many it was given
    and has not acknowledged, `retrying` how many of these have failed or are tried again, `dead` the
    number of dead letters; `oldest_pending_ms` is the time since the oldest pending entry was added. `consumers` counts
    those that live. `backlog` is how many entries wait for a worker: the lag, what is retrying, and what is due because
    its worker has died. `legacy_backlog` is the number of elements in the lists that feed the stream, None when there
    are none. `error` says what keeps some of it from being known, or the queue from working.
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
    backlog: int
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
    [status] = StatusReader(client).read([queue])
    return _known(status)  # type: ignore[no-any-return]


def group_info(client: Redis, ref: GroupRef) -> dict[str, Any] | None:
    """Return the server's figures of the group; None if there is no such group."""
    try:
        groups: Any = client.xinfo_groups(ref.stream)
    except ResponseError as error:
        if "no such key" in str(error):
            return None
        raise
    return next((group for group in groups if group["name"] == ref.group.encode()), None)


class _Look(NamedTuple):
    """What `look.lua` has seen, in the order of its reply."""

    commands: int
    length: int
    dead: int
    rows: int
    after: int
    first: bytes
    has_group: int
    entries_read: int | None = 0
    lag: int | None = None
    pending: int = 0
    oldest: bytes = b""
    retrying: int = 0
    waiting: int = 0
    names: Sequence[bytes] = ()
    seen_ms: Sequence[int] = ()


_Lists: TypeAlias = list[Any]


class StatusReader:
    """Reads the figures of many queues in two round trips, and counts the commands that Redis runs for it."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._scripts = Scripts(client)
        self.commands = 0
        """How many commands Redis has run, those within scripts included."""

    def read(self, queues: Sequence[Queue]) -> list[QueueStatus | RedisError]:
        """Return the figures of each queue, or the error of its keys; raise when the server is away."""
        now_ms, replies = self._looks(queues)
        looks = [look if isinstance(look, RedisError) else _Look(*look) for look, _ in replies]
        locks = self._locks(queues, looks)
        return [
            look if isinstance(look, RedisError) else self._status(queue, look, lock, lists, now_ms)
            for queue, look, lock, (_, lists) in zip(queues, looks, locks, replies, strict=True)
        ]

    def _looks(self, queues: Sequence[Queue]) -> tuple[int, list[tuple[Any, _Lists]]]:
        """Return the server's time, and for each queue the reply of `look.lua` and the lengths of its lists."""
        pipeline: Any  # redis-py leaves execute_command() untyped
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.time()
            for queue in queues:
                pipeline.execute_command(*self._scripts.command("look", *_asked(queue)))
                for key in queue.legacy_lists:
                    pipeline.llen(key)
            replies = iter(self._run(pipeline))
        time = next(replies)
        now_ms = 0 if isinstance(time, RedisError) else as_ms(time)
        found = [(next(replies), [next(replies) for _ in queue.legacy_lists]) for queue in queues]
        return now_ms, [
            (time if isinstance(time, RedisError) else self._seen(queue, look), lists)
            for queue, (look, lists) in zip(queues, found, strict=True)
        ]

    def _run(self, pipeline: Any) -> list[Any]:
        """Return the replies, and errors, to the commands of a pipeline."""
        replies: list[Any] = pipeline.execute(raise_on_error=False)
        self.commands += len(replies)
        return replies

    def _seen(self, queue: Queue, reply: Any) -> Any:
        """Return the reply of `look.lua`, after loading it on a server that does not have it."""
        if isinstance(reply, NoScriptError):
            try:
                reply = self._scripts.run("look", *_asked(queue))
            except ResponseError as error:
                return error
        if not isinstance(reply, RedisError):
            self.commands += reply[0] - 1
        return reply

    def _locks(self, queues: Sequence[Queue], looks: Sequence[_Look | RedisError]) -> Iterator[Any]:
        """Return the locks of the names of each queue's consumers, or the error."""
        names = [() if isinstance(look, RedisError) else look.names for look in looks]
        with self._client.pipeline(transaction=False) as pipeline:
            for queue, of_queue in zip(queues, names, strict=True):
                if of_queue:
                    pipeline.mget([name_lock_key(queue.ref, name_of(name)) for name in of_queue])
            replies = iter(self._run(pipeline))
        return iter([next(replies) if of_queue else [] for of_queue in names])

    def _status(self, queue: Queue, look: _Look, locks: Any, lists: _Lists, now_ms: int) -> QueueStatus | RedisError:
        if isinstance(locks, RedisError):
            return locks
        try:
            retrying = self._retrying(queue, look)
        except ResponseError as refused:
            return refused
        lag, exact = _lag(look)
        waiting = retrying if look.waiting < 0 else look.waiting
        in_lists, error = _backlog(queue, lists)
        return QueueStatus(
            queue=queue.name,
            stream=queue.stream,
            group=queue.group,
            length=look.length,
            lag=lag,
            lag_ms=age_ms(look.first.decode(), now_ms) if lag and look.first else None,
            lag_exact=exact,
            entries_read=look.entries_read,
            pending=look.pending,
            retrying=retrying,
            dead=look.dead,
            oldest_pending_ms=age_ms(look.oldest.decode(), now_ms) if look.oldest else None,
            consumers=sum(map(is_alive, look.names, locks, (now_ms - seen for seen in look.seen_ms))),
            backlog=lag + waiting,
            legacy_backlog=in_lists,
            error=error,
        )

    def _retrying(self, queue: Queue, look: _Look) -> int:
        if look.retrying >= 0:
            return look.retrying
        self.commands += look.rows + 2 if look.rows <= COUNT_AT_MOST else 0  # one for each row
        return count_retrying(self._client, queue.ref, rows=look.rows, pending=look.pending)


def _asked(queue: Queue) -> tuple[list[str], list[Any]]:
    """Return the keys and arguments of `look.lua`."""
    ref = queue.ref
    keys = [ref.stream, errors_key(ref), dead_letters_key(ref)]
    return keys, [ref.group, _LOOK_AT_MOST, _ROWS_AT_MOST, _COUNT_AT_MOST, to_ms(queue.claim_idle)]


def _known(reply: Any) -> Any:
    """Return a reply; raise the error that it is."""
    if isinstance(reply, Exception):
        raise reply
    return reply


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


def _lag(look: _Look) -> tuple[int, bool]:
    """Return the lag and whether it is exact.

    The server's own figure is nil or wrong after entries were deleted or the group was moved (redis#13957), and 6.2
    has none. So a lag that is small enough is counted; a larger one is the server's word, capped by what is in the
    stream at all.
    """
    if not look.has_group:
        return look.length, True
    if look.after < (_LOOK_AT_MOST if look.lag is None else _COUNT_AT_MOST):
        return look.after, True
    if look.lag is None or not look.after <= look.lag <= look.length:
        return look.length, look.length == look.after
    return look.lag, True
