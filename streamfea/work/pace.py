"""How many entries to ask for."""

from datetime import timedelta

_FIRST = 10
_WEIGHT = 0.3


class Pace:
    """Follows how long records take, so that a worker asks for what it can commit within `commit_interval`.

    More would only keep entries from workers that are free.
    """

    def __init__(self, commit_interval: timedelta, batch_size: int) -> None:
        self._commit_interval = commit_interval.total_seconds()
        self._batch_size = batch_size
        self._most = batch_size
        self._seconds_per_record: float | None = None

    @property
    def count(self) -> int:
        """How many entries to ask for next."""
        if self._seconds_per_record is None:
            return min(_FIRST, self._most)
        affordable = int(self._commit_interval / max(self._seconds_per_record, 1e-9))
        return max(1, min(affordable, self._most))

    def slow_down(self) -> None:
        """Ask for half as many for now: a server cuts off whoever wants a longer reply than it may send."""
        self._most = max(1, self.count // 2)

    def observe(self, records: int, seconds: float) -> None:
        """Take note of how long `records` records took."""
        now = seconds / records
        before = self._seconds_per_record
        self._seconds_per_record = now if before is None else before + _WEIGHT * (now - before)
        self._most = min(self._batch_size, self._most + self._most // 2 + 1)
