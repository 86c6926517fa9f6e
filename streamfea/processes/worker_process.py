"""The main function of a worker process."""

import gc
import sys
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy import Engine, event
from sqlalchemy.exc import SQLAlchemyError

from streamfea.config.sections import Queue
from streamfea.config.settings import Settings
from streamfea.database.connection.fencing import session_name
from streamfea.database.exactly_once.ledger import Ledger, ledger_of
from streamfea.database.session.session import open_sessions
from streamfea.handlers.loading import load_handler
from streamfea.observe.events import Observer
from streamfea.observe.logs import say_whose_record
from streamfea.processes.servers import open_servers
from streamfea.streams.consuming.group import GroupConsumer
from streamfea.streams.consuming.name_lock import NameHolder, NameLock
from streamfea.streams.consuming.reader import Reader
from streamfea.worker.janitor import Janitor
from streamfea.worker.loop import Worker
from streamfea.worker.monitor import RunMonitor
from streamfea.worker.process_guard import end_if_child, keep_from_children
from streamfea.worker.retries import Predecessor
from streamfea.worker.stop_signal import StopSignal

__all__ = ["run_worker"]

log = structlog.get_logger(__name__)

# Arguments of `gc.set_threshold()`: collect after 20,000 new container objects, which is every few batches.
_COLLECT_AFTER = (20_000, 10, 5)

# Seconds after which Python switches threads, so that handlers do not keep the commit thread waiting (default 5 ms).
_SWITCH_SECONDS = 0.0002


def run_worker(
    settings: Settings,
    queue: Queue,
    consumer: str,
    holder: NameHolder,
    stop: StopSignal,
    *,
    until_empty: bool = False,
    predecessors: Sequence[Predecessor] = (),
    monitor: RunMonitor | None = None,
    observers: Sequence[Observer] = (),
) -> None:
    """Consume `queue` as `consumer`, a name that `holder` alone may use, until `stop` is set; tell `observers`.

    Raises `ConfigurationError` when only the operator can help.
    """
    monitor = monitor or RunMonitor()
    say_whose_record(lambda: monitor.at_hand, consumer)
    handler = load_handler(queue)
    end_if_child()
    _collect_garbage_less_often()
    sys.setswitchinterval(_SWITCH_SECONDS)
    ledger = ledger_of(queue)
    with open_servers(settings, queue, session_name(queue.ref, consumer), monitor) as (engine, client):
        event.listen(engine, "connect", lambda connection, _: keep_from_children(connection))
        group = GroupConsumer(client, queue.ref, consumer, queue.claim_idle)
        Worker(
            handler,
            group,
            Reader(client, group, queue.batch_bytes),
            open_sessions(engine, bulk=queue.bulk),
            stop,
            Janitor(client, queue.ref, queue.retention, consumer, prune_ledger=_pruning(engine, ledger)),
            NameLock(client, queue.ref, consumer, holder, monitor.running),
            ledger=ledger,
            until_empty=until_empty,
            predecessors=predecessors,
            monitor=monitor,
            log_records=settings.log.records,
            observers=observers,
        ).run()


def _pruning(engine: Engine, ledger: Ledger | None) -> Callable[[str], bool] | None:
    """Return a function that prunes the queue's ledger; None without a ledger."""
    if ledger is None:
        return None

    def prune(first_id: str) -> bool:
        try:
            with engine.begin() as connection:
                return ledger.prune(connection, first_id) > 0
        except SQLAlchemyError as error:  # there is time: the next batch will wait for the server, this need not
            log.debug("could not prune the ledger", reason=str(error))
            return False

    return prune


def _collect_garbage_less_often() -> None:
    """Keep the collector from objects that it cannot collect: imported modules, and the rows of a running batch.

    With Python's defaults it walks through all of a batch's objects again and again: a third of a worker's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
