"""From a handler to the group commits that its records run in."""

from collections.abc import Callable, Sequence
from functools import partial

import structlog
from sqlalchemy.orm import sessionmaker

from streamfea.database.ledger import ledger_of
from streamfea.database.session import DbSession
from streamfea.entry import Entry
from streamfea.handlers import Handler
from streamfea.work.batch import GroupCommit
from streamfea.work.fields import RecordField
from streamfea.work.runner import Watch, WholeBatch
from streamfea.work.stopping import StopSignal

__all__ = ["group_commit"]

log = structlog.get_logger(__name__)


def group_commit(
    handler: Handler,
    sessions: "sessionmaker[DbSession]",
    stop: StopSignal,
    *,
    watch: Watch | None = None,
    log_records: bool = False,
    ours: Callable[[Sequence[Entry]], Sequence[Entry]] = lambda entries: entries,
    overlap: bool = False,
) -> GroupCommit:
    """Return what runs entries of the handler's queue, as its settings say; the last two are `GroupCommit`'s."""
    queue = handler.queue
    field = RecordField(queue.field)
    record = partial(_logged, field) if log_records else field.record
    process = handler.process
    return GroupCommit(
        sessions,
        lambda session, entry: process(session, record(entry)),
        _whole_batch(handler, record),
        batch_size=queue.batch_size,
        commit_interval_seconds=queue.commit_interval.total_seconds(),
        stop=stop,
        watch=watch,
        ledger=ledger_of(queue),
        ours=ours,
        overlap=overlap,
    )


def _whole_batch(handler: Handler, record: Callable[[Entry], bytes]) -> WholeBatch | None:
    """Return how the handler takes a whole batch, if it does."""
    if handler.process_batch is None:
        return None
    decode = handler.decode
    if decode is None:
        return WholeBatch(record, handler.process_batch)
    return WholeBatch(lambda entry: decode(record(entry)), handler.process_batch)


def _logged(field: RecordField, entry: Entry) -> bytes:
    record = field.record(entry)
    log.info("record", entry=entry.id, record=record.decode("utf-8", "backslashreplace"))
    return record
