"""Creates the group commit of a handler."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import structlog

from streamfea.core.entry import Entry
from streamfea.core.record_field import RecordField
from streamfea.database.exactly_once.ledger import Ledger
from streamfea.database.session.session import DbSession, Sessions
from streamfea.handlers.loading import Handler, ProcessBatch, ProcessRecord
from streamfea.observe.events import Observer
from streamfea.worker import process_guard as guard
from streamfea.worker.monitor import RunMonitor
from streamfea.worker.outage import OutageRetry
from streamfea.worker.pipeline import GroupCommit
from streamfea.worker.stop_signal import StopSignal
from streamfea.worker.transaction import RunEntry, WholeBatch

__all__ = ["group_commit"]

log = structlog.get_logger(__name__)


def group_commit(
    handler: Handler,
    sessions: Sessions,
    stop: StopSignal,
    *,
    monitor: RunMonitor | None = None,
    log_records: bool = False,
    ledger: Ledger | None = None,
    ours: Callable[[Sequence[Entry]], Sequence[Entry]] = lambda entries: entries,
    overlap: bool = False,
    outage_retry: OutageRetry | None = None,
    observe: Observer | None = None,
) -> GroupCommit:
    """Return what runs entries of the handler's queue, as its settings say; the last ones are `GroupCommit`'s."""
    queue = handler.queue
    field = RecordField(queue.field)
    record = partial(_logged, field) if log_records else field.record
    return GroupCommit(
        sessions,
        _one(handler.process, record),
        _whole_batch(handler, record),
        batch_size=queue.batch_size,
        commit_interval_seconds=queue.commit_interval.total_seconds(),
        stop=stop,
        monitor=monitor,
        ledger=ledger,
        ours=ours,
        overlap=overlap,
        outage_retry=outage_retry,
        queue=queue.name,
        observe=observe,
    )


def _one(process: ProcessRecord, record: Callable[[Entry], bytes]) -> RunEntry:
    """Return what runs the record of one entry; a process that the handler forks ends there."""

    def run(session: DbSession, entry: Entry) -> None:
        try:
            process(session, record(entry))
        except BaseException as error:
            guard.end_if_child(error)
            raise
        if guard.is_child:
            guard.end_if_child()

    return run


def _many(process: ProcessBatch) -> Callable[[DbSession, list[Any]], None]:
    """Return what runs the records of a batch; a process that the handler forks ends there."""

    def run(session: DbSession, records: list[Any]) -> None:
        try:
            process(session, records)
        except BaseException as error:
            guard.end_if_child(error)
            raise
        guard.end_if_child()

    return run


def _whole_batch(handler: Handler, record: Callable[[Entry], bytes]) -> WholeBatch | None:
    """Return how the handler takes a whole batch, if it does."""
    if handler.process_batch is None:
        return None
    decode, process = handler.decode, _many(handler.process_batch)
    if decode is None:
        return WholeBatch(record, process)
    return WholeBatch(lambda entry: decode(record(entry)), process)


def _logged(field: RecordField, entry: Entry) -> bytes:
    record = field.record(entry)
    log.info("record", entry=entry.id, record=record.decode("utf-8", "backslashreplace"))
    return record
