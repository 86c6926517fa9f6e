"""Judges from the figures of the work whether the workers of this host work.

An outage is no illness: a restart of every worker while a server is away helps nobody. A handler that is busy within
its `timeout` is healthy. A worker is ill that does nothing for too long, although there is, or may be, work.
"""

from collections.abc import Sequence

from streamfea.observe.figures import Figures, Row

__all__ = ["illnesses", "waits"]

# Longer than any look for work, any wait for a restart, and any transaction that is not in somebody's way.
_STILL_AT_MOST_SECONDS = 60.0


def illnesses(figures: Figures, running_seconds: Sequence[float]) -> list[str]:
    """Return a sentence for each worker that is ill; `running_seconds` is how long the record of each has run."""
    found = (_illness(row, seconds) for row, seconds in zip(figures.rows, running_seconds, strict=True))
    return [sentence for sentence in found if sentence is not None]


def waits(figures: Figures) -> list[str]:
    """Return a sentence for each queue that has a worker which does not read, or waits for a server."""
    sentences = []
    for queue, rows in figures.by_queue().items():
        away = [server for server in ("Redis", "PostgreSQL") if any(row.waiting_seconds(server) for row in rows)]
        if away:
            sentences.append(f"queue {queue}: waiting for {' and '.join(away)}")
        elif any(not row.ready for row in rows):
            ready = sum(row.ready for row in rows)
            sentences.append(f"queue {queue}: {ready} of {len(rows)} workers are ready; the log says why")
    return sentences


def _illness(row: Row, running_seconds: float) -> str | None:
    if not row.wanted or row.waiting_seconds("Redis") or row.waiting_seconds("PostgreSQL"):
        return None
    if running_seconds:
        if running_seconds <= row.timeout_seconds + _STILL_AT_MOST_SECONDS:
            return None
        return f"queue {row.queue}: a record has been running for {running_seconds:.0f} s, longer than timeout"
    still = row.still_seconds()
    if still <= _STILL_AT_MOST_SECONDS:
        return None
    if not row.pid:
        return f"queue {row.queue}: a worker dies whenever it starts, for {still:.0f} s; its log says why"
    return f"queue {row.queue}: a worker has not moved for {still:.0f} s; `streamfea status {row.queue}` says why"
