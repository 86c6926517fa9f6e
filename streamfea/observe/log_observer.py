"""Writes events to the log: for each, a line that a person understands, at a level that says whether to act."""

import time
from dataclasses import dataclass

import structlog

from streamfea.observe import events
from streamfea.observe.events import Event, Failure

__all__ = ["LogObserver"]

log = structlog.get_logger(__name__)

_AGAIN_AFTER_SECONDS = 10.0
_KINDS_AT_MOST = 1_000


@dataclass(slots=True)
class _Kind:
    told_at: float
    untold: int = 0


class LogObserver:
    """An observer that logs.

    Of failures that are tried again, the first of each kind (the type of the error and the line that raised it) is
    logged at once, then how many more there were.
    """

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def __call__(self, event: Event) -> None:
        """Log `event`, unless it is of every transaction."""
        match event:
            case events.RecordsPostponed(failures=failures):
                for failure in failures:
                    self._postponed(event.queue, failure)
            case events.RecordsBuried(failures=failures):
                for failure in failures:
                    log.warning(
                        "record moved to the dead letters",
                        entry=failure.entry_id,
                        reason=failure.then,
                        error=failure.error,
                        where=failure.where or None,
                    )
            case events.OutageBegan(server=server, reason=reason):
                log.warning("waiting for %s", server, reason=reason)
            case events.OutageEnded(server=server, seconds=seconds):
                log.info("%s is back", server, after_seconds=round(seconds, 1))
            case _:
                _log_of_entries(event)

    def _postponed(self, queue: str, failure: Failure) -> None:
        name, now = (failure.error_type, failure.where), time.monotonic()
        kind = self._kinds.get(name)
        if kind is None:
            if len(self._kinds) >= _KINDS_AT_MOST:
                self._kinds.clear()
            self._kinds[name] = _Kind(now)
            log.warning("record failed and will be tried again", **_about(queue, failure), tried_again_in=failure.then)
            return
        kind.untold += 1
        if now - kind.told_at >= _AGAIN_AFTER_SECONDS:
            log.warning("more records failed alike", **_about(queue, failure), count=kind.untold)
            kind.told_at, kind.untold = now, 0


def _about(queue: str, failure: Failure) -> dict[str, object]:
    return {
        "entry": failure.entry_id,
        "error": failure.error,
        "where": failure.where or None,
        "look": f"streamfea show {queue} {failure.entry_id}",
    }


def _log_of_entries(event: Event) -> None:
    match event:
        case events.EntriesHandedOver(entries=entries):
            log.info("handed over to the other consumers", entries=entries)
        case events.EntriesGivenUp(entries=entries):
            log.warning("handing over to consumers that PostgreSQL may let in", entries=entries)
        case events.EntriesLost(entries=entries):
            log.warning("others have claimed entries that this worker was too slow to keep", entries=entries)
        case events.LongRecordsCame():
            log.info("long records came at once: they run one by one")
        case events.BatchRepeated(reason=reason):
            log.info("doing a batch again", reason=reason)
        case events.TransactionsEnded(consumers=consumers):
            log.warning("ended the transactions of consumers that have stopped", consumers=sorted(consumers))
        case _:
            _log_of_worker(event)


def _log_of_worker(event: Event) -> None:
    match event:
        case events.WorkerStarted(queue=queue, stream=stream, consumer=consumer):
            log.info("consuming", queue=queue, stream=stream, consumer=consumer)
        case events.WorkerStopped(queue=queue, committed=committed, seconds=seconds):
            log.info("stopped", queue=queue, committed=committed, seconds=round(seconds, 1))
        case events.NameTaken(consumer=consumer, held_by=held_by):
            log.warning("waiting for another process to give up its name", name=consumer, held_by=held_by)
        case events.HandOverFailed(reason=None):
            log.warning("left without handing over: Redis does not answer; others take over after claim_idle")
        case events.HandOverFailed(reason=reason):
            log.warning("left without handing over: others take over after claim_idle", reason=reason)
