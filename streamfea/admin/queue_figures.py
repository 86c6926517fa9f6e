"""The figures of all queues of a system, kept up to date with few commands: what `exporter` and `metrics` show."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from streamfea.admin.job import slices
from streamfea.admin.status import Figures, readable, unreadable
from streamfea.config.sections import Queue
from streamfea.streams.operating.dead_reasons import DeadReasons
from streamfea.streams.operating.status import QueueStatus, StatusReader

__all__ = ["QueueFigures", "Seen"]

# What Redis is asked for: this many commands a second at most, and each queue this often at most.
_COMMANDS_A_SECOND = 16.0
_EVERY_SECONDS = 5.0
_AGAIN_AFTER_SECONDS = 1.0
# Of the server's time, as far as its answers take any, this part at most.
_PART_OF_TIME = 1 / 20
_QUEUES_AT_ONCE = 4
# Of very many dead letters, some are counted at each look.
_PAGES_AT_A_LOOK = 20
_ALL_PAGES = 1_000_000
# In every so many rounds dead letters are looked at although there are as many as before: others may have come instead.
_RECOUNT_EVERY = 6


class _Stop(Protocol):
    def wait(self, timeout: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """A queue's figures, its dead letters by reason, and when that was seen, in seconds of the monotonic clock."""

    figures: Figures
    reasons: Mapping[str, int] = field(default_factory=dict)
    at: float = field(default_factory=time.monotonic)


class QueueFigures:
    """Looks at queues in turn. Another thread may ask for what was `seen` meanwhile."""

    def __init__(self, client: Redis, queues: Sequence[Queue]) -> None:
        self._queues = queues
        self._reader = StatusReader(client)
        self._reasons = {queue.name: DeadReasons(client, queue.ref) for queue in queues}
        self._seen: dict[str, Seen] = {}
        self._rounds = 0
        self.looked_at = time.monotonic()
        """When Redis was asked last, in seconds of the monotonic clock."""
        self.problem: str | None = None
        """Why Redis does not answer; None while it does."""

    @property
    def commands(self) -> int:
        """How many commands Redis has run so far, those within scripts included."""
        return self._reader.commands + sum(reasons.commands for reasons in self._reasons.values())

    @property
    def seen(self) -> list[Seen]:
        """The figures of each queue, as configured, without queues that nobody has looked at yet."""
        seen = dict(self._seen)
        return [seen[queue.name] for queue in self._queues if queue.name in seen]

    def read(self) -> list[Seen]:
        """Look at all queues now, and count every dead letter; return what there is."""
        for part in slices(self._queues, _QUEUES_AT_ONCE):
            if not self._look(part, _ALL_PAGES):
                break
        return self.seen

    def keep_up(self, stop: _Stop) -> None:
        """Look at one part of the queues after the other, without haste, until `stop` is set."""
        ends_at = 0.0
        while not stop.wait(max(0.0, ends_at - time.monotonic())):
            ends_at = time.monotonic() + _EVERY_SECONDS
            self._rounds += 1
            for part in slices(self._queues, _QUEUES_AT_ONCE):
                if stop.wait(self._pause_after(part)):
                    return
                if self.problem:
                    ends_at = time.monotonic() + _AGAIN_AFTER_SECONDS
                    break

    def _pause_after(self, part: Sequence[Queue]) -> float:
        """Look at some queues; return the seconds to wait, so that Redis has little to do on average."""
        commands, began = self.commands, time.monotonic()
        self._look(part, _PAGES_AT_A_LOOK)
        took = time.monotonic() - began
        return max((self.commands - commands) / _COMMANDS_A_SECOND - took, min(took / _PART_OF_TIME, _EVERY_SECONDS))

    def _look(self, part: Sequence[Queue], pages: int) -> bool:
        """Look at some queues; return whether Redis answered. If not, no queue has figures."""
        try:
            found = readable(part, self._reader.read(part))
            for queue, figures in zip(part, found, strict=True):
                self._seen[queue.name] = self._seen_of(queue, figures, pages)
            self.problem = None
        except RedisError as error:
            away = unreadable(self._queues, error)
            self.problem = away[0].error
            self._seen = {figures.queue: Seen(figures) for figures in away}
        finally:
            self.looked_at = time.monotonic()
        return self.problem is None

    def _seen_of(self, queue: Queue, figures: Figures, pages: int) -> Seen:
        reasons = self._reasons[queue.name]
        if isinstance(figures, QueueStatus) and (figures.dead != reasons.total or self._rounds % _RECOUNT_EVERY == 0):
            try:
                reasons.update(pages)
            except ResponseError as error:
                [unreadable] = readable([queue], [error])
                return Seen(unreadable)
        return Seen(figures, reasons.counts)
