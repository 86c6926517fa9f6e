"""Failures of some queues by their cause."""

from collections.abc import Iterator, Sequence

from redis import Redis

from streamfea.admin.job import Job
from streamfea.config.sections import Queue
from streamfea.errors import UsageError
from streamfea.streams.operating.causes import Cause, count_causes
from streamfea.streams.operating.dead_letters import count_dead_letters

__all__ = ["CauseListing", "cause_of"]

_HEX = frozenset("0123456789abcdef")
_LENGTH = 8


class CauseListing(Job):
    """Counts the failures of queues by cause, dead letters and entries that are retried together."""

    doing = "counting"

    def __init__(self, client: Redis, queues: Sequence[Queue], since_ms: int = 0) -> None:
        self._client = client
        self._queues = queues
        self._since_ms = since_ms
        self.causes: list[tuple[Queue, Cause]] = []
        """The causes with their queues, those with the most failures first."""

    def so_far(self) -> str:
        """Return that nothing was changed."""
        return "nothing was changed"

    def _steps(self) -> Iterator[int]:
        self.total = sum(count_dead_letters(self._client, queue.ref) for queue in self._queues)
        for queue in self._queues:
            for step in count_causes(self._client, queue.ref, self._since_ms):
                if isinstance(step, int):
                    yield step
                else:
                    self.causes += ((queue, cause) for cause in step)
        self.causes.sort(key=lambda found: -found[1].count)


def cause_of(text: str | None) -> str | None:
    """Return a cause, or the beginning of one, as a person has written it; raise `UsageError` if it is none."""
    if text is None:
        return None
    cause = text.lower()
    if not cause or len(cause) > _LENGTH or not set(cause) <= _HEX:
        raise UsageError(f"{text!r} is no cause", remedy="`streamfea causes` lists them, as in 1f3a9c2b")
    return cause
