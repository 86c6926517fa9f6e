"""What is made sure of before any worker is started."""

from collections.abc import Sequence

import structlog
from sqlalchemy import Engine

from streamfea.config.settings import Queue, Settings
from streamfea.database.connection.fencing import session_name
from streamfea.database.exactly_once.ledger import ledger_of
from streamfea.database.schema.setup import all_schemas, amiss, create_all
from streamfea.database.session.session import open_sessions
from streamfea.errors import ConfigurationError
from streamfea.handlers.loading import Handler, load_handlers
from streamfea.processes.servers import is_refusal, open_servers
from streamfea.streams.connection.errors import is_outage
from streamfea.streams.consuming.group import GroupConsumer
from streamfea.streams.operating.diagnose import why_useless
from streamfea.worker.joining import joining
from streamfea.worker.outage import Patience
from streamfea.worker.policy import Fault, whose_fault
from streamfea.worker.process_guard import end_if_child
from streamfea.worker.stop_signal import StopSignal

__all__ = ["preflight"]

log = structlog.get_logger(__name__)


def preflight(settings: Settings, queues: Sequence[Queue], stop: StopSignal, *, tables: bool) -> None:
    """Make sure that workers for `queues` can work: handlers, both servers, tables; `tables` creates missing ones.

    Waits for a server that is away. Raises `ConfigurationError` for what waiting does not mend, `Interrupted` when
    `stop` is set.
    """
    handlers = load_handlers(list(queues))
    end_if_child()
    with open_servers(settings, queues[0], session_name(queues[0].ref, "preflight")) as (engine, client):
        postgresql = Patience(
            "PostgreSQL", lambda error: whose_fault(error) is Fault.OUTAGE and not is_refusal(error), stop
        )
        problem = postgresql.call(lambda: _tables_ready(engine, handlers, tables))
        if problem:
            raise problem
        redis = Patience("Redis", is_outage, stop)
        for queue in queues:
            useless = redis.call(lambda queue=queue: why_useless(client, queue))  # type: ignore[misc]  # bound at once
            if useless:
                message, remedy = useless
                raise ConfigurationError(f"redis, queue {queue.name}: {message}", remedy=remedy)
            group = GroupConsumer(client, queue.ref, "preflight", queue.claim_idle)
            joining(group, ledger_of(queue), open_sessions(engine), redis, postgresql)()


def _tables_ready(engine: Engine, handlers: list[Handler], create: bool) -> ConfigurationError | None:
    """Return the error that says what the tables still lack."""
    schemas = all_schemas(handlers)
    if create:
        created = create_all(engine, schemas).created
        if created:
            log.info("created tables", tables=created)
    with engine.connect() as connection:
        return amiss(connection, schemas)
