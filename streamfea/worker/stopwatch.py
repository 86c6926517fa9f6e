"""Measures how long the parts of a transaction take."""

import time

__all__ = ["Stopwatch"]


class Stopwatch:
    """Runs from the moment it is made."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def lap(self) -> float:
        """Return the seconds since the last lap, or since the start."""
        since, self._since = self._since, time.monotonic()
        return self._since - since
