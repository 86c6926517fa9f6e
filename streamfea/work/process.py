"""What a worker process does, from its settings to its last word; and what is made sure of before any is started."""

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from streamfea.database.engine import open_database
from streamfea.database.fencing import session_name
from streamfea.database.ledger import ledger_of
from streamfea.database.session import open_sessions
from streamfea.database.setup import all_schemas, amiss, create_all
from streamfea.errors import ConfigurationError
from streamfea.handlers import Handler, load_handler, load_handlers
from streamfea.settings import Queue, Settings
from streamfea.streams.connect import open_redis
from streamfea.streams.faults import is_outage, must_stop, told
from streamfea.streams.group import Group
from streamfea.streams.presence import Holder, Presence
from streamfea.work.janitor import Janitor
from streamfea.work.patience import Patience
from streamfea.work.policy import Fault, whose_fault
from streamfea.work.runner import Watch
from streamfea.work.stopping import StopSignal
from streamfea.work.worker import Predecessor, Worker

__all__ = ["preflight", "run_worker"]

log = structlog.get_logger(__name__)

# Allocations of container objects, then collections of each younger generation (gc manual): some batches' worth.
_COLLECT_AFTER = (20_000, 10, 5)

# A thread that has had PostgreSQL's answer waits so long for one that runs handlers: some records' worth.
_SWITCH_SECONDS = 0.0005

_TLS_REFUSALS = ("certificate", "does not support SSL")
# What PostgreSQL, or libpq, says while connecting when waiting will not help; before a session exists there is no
# SQLSTATE to go by.
_REFUSALS = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "not permitted to log in",
    "invalid sslmode value",
    "invalid port number",
    "for connection option",
    *_TLS_REFUSALS,
)


def run_worker(
    settings: Settings,
    queue: Queue,
    consumer: str,
    holder: Holder,
    stop: StopSignal,
    *,
    until_empty: bool = False,
    predecessors: Sequence[Predecessor] = (),
    watch: Watch | None = None,
) -> None:
    """Consume `queue` as `consumer`, a name that `holder` alone may use, until `stop` is set.

    Raises `ConfigurationError` when only the operator can help.
    """
    handler = load_handler(queue)
    _collect_garbage_less_often()
    sys.setswitchinterval(_SWITCH_SECONDS)
    with _servers(settings, queue, session_name(queue, consumer)) as (engine, client):
        Worker(
            handler,
            Group(client, queue, consumer),
            open_sessions(engine, bulk=queue.bulk),
            stop,
            Janitor(client, queue, consumer, prune_ledger=_pruning(engine, queue)),
            Presence(client, queue, consumer, holder),
            until_empty=until_empty,
            predecessors=predecessors,
            watch=watch,
            log_records=settings.log.records,
        ).run()


def preflight(settings: Settings, queues: Sequence[Queue], stop: StopSignal, *, tables: bool) -> None:
    """Make sure that workers for `queues` can work: handlers, both servers, tables; `tables` creates missing ones.

    Waits for a server that is away. Raises `ConfigurationError` for what waiting does not mend, `Interrupted` when
    `stop` is set.
    """
    handlers = load_handlers(list(queues))
    with _servers(settings, queues[0], session_name(queues[0], "preflight")) as (engine, client):
        postgresql = Patience(
            "PostgreSQL", lambda error: whose_fault(error) is Fault.OUTAGE and not _is_refusal(error), stop
        )
        problem = postgresql.call(lambda: _tables_ready(engine, handlers, tables))
        if problem:
            raise ConfigurationError(problem)
        redis = Patience("Redis", is_outage, stop)
        for queue in queues:
            redis.call(Group(client, queue, "preflight").create)


def _tables_ready(engine: Engine, handlers: list[Handler], create: bool) -> str | None:
    """Return what the tables still lack, as a sentence."""
    schemas = all_schemas(handlers)
    if create:
        created = create_all(engine, schemas).created
        if created:
            log.info("created tables", tables=created)
    with engine.connect() as connection:
        return amiss(connection, schemas)


@contextmanager
def _servers(settings: Settings, queue: Queue, name: str) -> Iterator[tuple[Engine, Redis]]:
    """Open both servers, close them afterwards, and turn what only the operator can mend into a sentence."""
    engine = open_database(settings.database, name)
    client = open_redis(settings.redis, queue.block)
    try:
        yield engine, client
    except RedisError as error:
        if must_stop(error):
            raise ConfigurationError(f"redis, queue {queue.name}: {told(error)}") from error
        raise
    except OperationalError as error:
        if _is_refusal(error):
            raise ConfigurationError(f"database: {_first_line(error)}: {_remedy(error)}") from error
        raise
    finally:
        client.close()
        engine.dispose()


def _pruning(engine: Engine, queue: Queue) -> Callable[[str], bool] | None:
    """Return what removes rows of the ledger that are of no more use, if the queue has one."""
    ledger = ledger_of(queue)
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
    """Spare the collector what it cannot collect: what is imported, and the rows of a batch under way.

    With Python's defaults it walks through all of a batch's objects again and again: a third of a worker's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


def _is_refusal(error: BaseException) -> bool:
    return isinstance(error, OperationalError) and any(words in str(error.orig) for words in _REFUSALS)


def _remedy(error: OperationalError) -> str:
    if any(words in str(error.orig) for words in _TLS_REFUSALS):
        return "check database.url, and sslmode and sslrootcert in database.connect_args"
    return "check database.url and its password"


def _first_line(error: OperationalError) -> str:
    return str(error.orig).strip().splitlines()[0]
