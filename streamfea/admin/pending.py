"""What is pending: the oldest entries, and figures of all."""

from collections.abc import Iterator, Sequence
from heapq import nsmallest

from redis import Redis

from streamfea.admin.error_counts import ErrorCounts
from streamfea.admin.job import Job, slices
from streamfea.config.sections import Queue
from streamfea.streams.operating.pending import PendingEntry, PendingFilter, pending_entries

__all__ = ["PendingListing"]

_AT_ONCE = 1000


class PendingListing(Job):
    """Looks through what is pending in some queues; keeps the `limit` oldest entries, and counts all."""

    doing = "looking"

    def __init__(self, client: Redis, queues: Sequence[Queue], wanted: PendingFilter, limit: int) -> None:
        self._client = client
        self._queues = queues
        self._wanted = wanted
        self._limit = limit
        self._kept: list[PendingEntry] = []
        self.found = 0
        """How many entries the filter takes."""
        self.errors = ErrorCounts()
        """The last errors of those that have failed."""

    def so_far(self) -> str:
        """Return that nothing was changed."""
        return "nothing was changed"

    @property
    def oldest(self) -> list[PendingEntry]:
        """The oldest entries of those that were found."""
        return nsmallest(self._limit, self._kept, key=_by_id)

    def _steps(self) -> Iterator[int]:
        for queue in self._queues:
            for part in slices(pending_entries(self._client, queue.ref, queue.claim_idle, self._wanted), _AT_ONCE):
                self._note(part)
                yield len(part)

    def _note(self, entries: Sequence[PendingEntry]) -> None:
        for entry in entries:
            if entry.error:
                self.errors.add(entry.error, entry.where, entry.id)
        self.found += len(entries)
        self._kept += entries
        if len(self._kept) > 2 * self._limit + _AT_ONCE:
            self._kept = self.oldest


def _by_id(entry: PendingEntry) -> tuple[int, int]:
    milliseconds, _, number = entry.id.partition("-")
    return int(milliseconds), int(number)
