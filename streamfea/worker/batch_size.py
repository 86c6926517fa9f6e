"""Estimates how many entries to ask for."""

from datetime import timedelta

_WEIGHT = 0.3


class AdaptiveBatchSize:
    """Follows how long records take, so that a worker asks for what it can commit within `commit_interval`.

    More would only keep entries from workers that are free. And how long records are, in bytes: no more than
    `batch_bytes` of them are to be in memory at once.
    """

    def __init__(self, commit_interval: timedelta, batch_size: int, batch_bytes: int) -> None:
        self._commit_interval = commit_interval.total_seconds()
        self._batch_size = batch_size
        self._batch_bytes = batch_bytes
        self._most = batch_size
        self._seconds_per_record: float | None = None
        self._bytes_per_record = 0.0

    @property
    def count(self) -> int:
        """How many entries to ask for next."""
        if self._seconds_per_record is None:
            return 1  # which may be as long as a record can be
        in_time = int(self._commit_interval / max(self._seconds_per_record, 1e-9))
        in_memory = int(self._batch_bytes / max(self._bytes_per_record, 1))
        return max(1, min(in_time, in_memory, self._most))

    def leaves_room(self, seconds: float) -> bool:
        """Tell whether the next `count` records take no longer than that, and memory has room for as many again."""
        if self._seconds_per_record is None:
            return False
        count = self.count
        return count * self._seconds_per_record <= seconds and 2 * count * self._bytes_per_record <= self._batch_bytes

    def slow_down(self) -> None:
        """Ask for half as many for a while: a server cuts off clients whose replies exceed its output-buffer limit."""
        self._most = max(1, self.count // 2)

    def start_small(self) -> None:
        """Ask for one entry now, and grow: the next entries are longer than the last ones suggest."""
        self._most = 1

    def observe(self, records: int, seconds: float, size: int) -> None:
        """Take note of how long `records` records took, which had `size` bytes."""
        now = seconds / records
        before = self._seconds_per_record
        self._seconds_per_record = now if before is None else before + _WEIGHT * (now - before)
        average = size / records
        # Up at once and down by and by: too small a batch costs less than too large a reply.
        self._bytes_per_record = max(average, self._bytes_per_record + _WEIGHT * (average - self._bytes_per_record))
        self._most = min(self._batch_size, self._most + self._most // 2 + 1)
