"""Removes entries that every group has acknowledged."""

from collections.abc import Iterator

from redis import Redis

from streamfea.admin.job import Job
from streamfea.config.sections import Queue
from streamfea.core.wording import counted
from streamfea.streams.consuming.trim import Trimmer, count_acknowledged, is_read

__all__ = ["Trim"]


class Trim(Job):
    """Removes the entries of a queue's stream that every group has acknowledged; with `dry_run` it counts them."""

    doing = "trimming"

    def __init__(self, client: Redis, queue: Queue, *, dry_run: bool = False) -> None:
        self._client = client
        self._queue = queue
        self._dry_run = dry_run
        self.is_read = True
        """Whether any group reads the stream: nothing is removed otherwise."""
        self.number = 0
        """How many entries were removed, or would be."""
        self.left = 0
        """How many entries stay; known at the end."""

    def so_far(self) -> str:
        """Return how many entries were removed."""
        return f"{counted(0 if self._dry_run else self.number, 'entry', 'entries')} removed"

    def _steps(self) -> Iterator[int]:
        self.is_read = is_read(self._client, self._queue.stream)
        for count in self._slices() if self.is_read else ():
            self.number += count
            yield count
        self.left = int(self._client.xlen(self._queue.stream)) - (self.number if self._dry_run else 0)

    def _slices(self) -> Iterator[int]:
        if self._dry_run:
            return count_acknowledged(self._client, self._queue.ref)
        return Trimmer(self._client, self._queue.ref).trim_all()
