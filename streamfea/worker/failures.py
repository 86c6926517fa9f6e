"""Logs failures that will be retried: the first of each kind at once, then how many more there were."""

import time
from dataclasses import dataclass

import structlog

from streamfea.streams.consuming.last_error import LastError

__all__ = ["Failures"]

log = structlog.get_logger(__name__)

_AGAIN_AFTER_SECONDS = 10.0
_KINDS_AT_MOST = 1_000


@dataclass(slots=True)
class _Kind:
    told_at: float
    untold: int = 0


class Failures:
    """Counts failures by kind: the type of the error and the line that raised it."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def note(self, entry_id: str, last_error: LastError, delay: str) -> None:
        """Log a record that failed and is tried again after `delay`, or count it with others that failed alike."""
        name, now = (last_error.type, last_error.where), time.monotonic()
        kind = self._kinds.get(name)
        if kind is None:
            if len(self._kinds) >= _KINDS_AT_MOST:
                self._kinds.clear()
            self._kinds[name] = _Kind(now)
            self._tell("record failed and will be tried again", entry_id, last_error, tried_again_in=delay)
            return
        kind.untold += 1
        if now - kind.told_at >= _AGAIN_AFTER_SECONDS:
            self._tell("more records failed alike", entry_id, last_error, count=kind.untold)
            kind.told_at, kind.untold = now, 0

    def _tell(self, event: str, entry_id: str, last_error: LastError, **more: object) -> None:
        log.warning(
            event,
            entry=entry_id,
            error=last_error.summary,
            where=last_error.where or None,
            **more,
            look=f"streamfea show {self._queue} {entry_id}",
        )
