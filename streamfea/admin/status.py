"""How each queue is doing, what is wrong with it, and whether that is worse than somebody allows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeAlias

from redis import Redis
from redis.exceptions import RedisError

from streamfea.config.sections import Queue
from streamfea.core.advice import Advice
from streamfea.core.durations import to_ms
from streamfea.core.wording import counted, human_ms
from streamfea.streams.connection.errors import is_outage, told
from streamfea.streams.operating.status import QueueStatus, StatusReader

__all__ = [
    "Figures",
    "Thresholds",
    "Unreadable",
    "by_trouble",
    "figures_of",
    "names_queue",
    "rates_between",
    "readable",
    "total_of",
    "unreadable",
    "wrong_with",
]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A queue that cannot be read, with the error; `is_outage` when that is the whole server's."""

    queue: str
    stream: str
    group: str
    error: str
    is_outage: bool = False


Figures: TypeAlias = QueueStatus | Unreadable


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How bad a queue may be: its lag, the age of its oldest entry, its dead letters, and whether it needs a worker."""

    lag: int | None = None
    age: timedelta | None = None
    dead: int | None = None
    no_worker: bool = False

    def passed(self, status: QueueStatus) -> Iterator[str]:
        """Yield a sentence for each threshold that a queue has passed."""
        if self.lag is not None and status.lag > self.lag:
            yield f"queue {status.queue}: {status.lag_text} entries wait, more than {self.lag:,}"
        if self.age is not None and (status.oldest_ms or 0) > to_ms(self.age):
            oldest, limit = human_ms(status.oldest_ms), human_ms(to_ms(self.age))
            yield f"queue {status.queue}: the oldest entry waits for {oldest}, longer than {limit}"
        if self.dead is not None and status.dead > self.dead:
            letters = counted(status.dead, "dead letter", "dead letters")
            yield f"queue {status.queue}: {letters}, more than {self.dead:,}"
        if self.no_worker and not status.consumers:
            yield f"queue {status.queue}: no worker runs"


def figures_of(client: Redis, queues: Sequence[Queue]) -> list[Figures]:
    """Return the figures of each queue, or the error of its keys, or of the server while that is away.

    Raises what redis-py raises when waiting does not help, as with a wrong password.
    """
    try:
        return readable(queues, StatusReader(client).read(queues))
    except RedisError as error:
        if not is_outage(error):
            raise
        return unreadable(queues, error)


def unreadable(queues: Sequence[Queue], error: RedisError) -> list[Figures]:
    """Return the queues without figures, since the server is away."""
    return [
        Unreadable(queue.name, queue.stream, queue.group, f"Redis: {told(error)}", is_outage=True) for queue in queues
    ]


def readable(queues: Sequence[Queue], found: Sequence[QueueStatus | RedisError]) -> list[Figures]:
    """Return the figures of each queue, those that could not be read as people are told."""
    return [
        Unreadable(queue.name, queue.stream, queue.group, f"stream {queue.stream}: {told(figures)}")
        if isinstance(figures, RedisError)
        else figures
        for queue, figures in zip(queues, found, strict=True)
    ]


def names_queue(figures: Figures, line: str) -> str:
    """Return a line about a queue with its name; one about the server, as it is."""
    return line if isinstance(figures, Unreadable) and figures.is_outage else f"{figures.queue}: {line}"


def by_trouble(figures: Sequence[Figures]) -> list[Figures]:
    """Return the queues, the worst first, those alike as they are configured."""
    return sorted(figures, key=_trouble)


def _trouble(figures: Figures) -> tuple[int, int]:
    if isinstance(figures, Unreadable) or figures.error:
        return 0, 0
    if figures.waits_for_a_worker:
        return 1, -(figures.oldest_ms or 0)
    if figures.dead or figures.retrying:
        return 2, 0
    return (3 if figures.lag or figures.pending else 4), 0


def wrong_with(figures: Figures) -> Iterator[Advice]:
    """Yield the problems of a queue, each with the next command."""
    if figures.error:
        yield Advice(figures.error)
    if isinstance(figures, Unreadable):
        return
    if figures.waits_for_a_worker:
        waiting = figures.lag + figures.pending + (figures.legacy_backlog or 0)
        some = counted(waiting, "record waits", "records wait")
        yield Advice(f"{some} and no worker runs", f"streamfea consume {figures.queue}")
    if figures.retrying:
        some = counted(figures.retrying, "record has", "records have")
        yield Advice(f"{some} failed", f"streamfea pending {figures.queue}")
    if figures.dead:
        yield Advice(counted(figures.dead, "dead letter", "dead letters"), f"streamfea dead list {figures.queue}")


def rates_between(
    before: Mapping[str, QueueStatus], figures: Sequence[Figures], seconds: float
) -> dict[str, float | None]:
    """Return how many entries a second each queue has done since; None where the server does not count them."""
    return {each.queue: _rate(before.get(each.queue), each, seconds) for each in figures}


def _rate(last: QueueStatus | None, now: Figures, seconds: float) -> float | None:
    if last is None or isinstance(now, Unreadable) or now.entries_read is None or last.entries_read is None:
        return None
    done = (now.entries_read - now.pending) - (last.entries_read - last.pending)
    return max(0.0, done / seconds)


def total_of(known: Sequence[QueueStatus]) -> QueueStatus:
    """Return the figures of several queues together."""
    summed = ("length", "lag", "pending", "retrying", "dead", "consumers", "backlog")
    backlogs = [status.legacy_backlog for status in known if status.legacy_backlog is not None]
    return replace(
        known[0],
        **{name: sum(getattr(status, name) for status in known) for name in summed},
        lag_exact=all(status.lag_exact for status in known),
        lag_ms=_largest(status.lag_ms for status in known),
        oldest_pending_ms=_largest(status.oldest_pending_ms for status in known),
        legacy_backlog=sum(backlogs) if backlogs else None,
    )


def _largest(values: Iterator[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)
