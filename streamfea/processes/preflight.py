"""Checks that workers can work, before any is started."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import structlog
from psycopg.errors import QueryCanceled
from redis import Redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import Engine

from streamfea.config.sections import Queue
from streamfea.config.settings import Settings
from streamfea.database.connection.errors import Fault, is_refusal, whose_fault
from streamfea.database.connection.fencing import session_name
from streamfea.database.exactly_once.ledger import ledger_of
from streamfea.database.schema.setup import OWN_TABLES, all_schemas, amiss, create_all
from streamfea.database.session.session import open_sessions
from streamfea.errors import ConfigurationError, QueuesError
from streamfea.handlers.loading import Handler, load_handler
from streamfea.handlers.schemas import OTHER_MODELS, HandlerSchema
from streamfea.processes.libraries import unknown_libraries
from streamfea.processes.servers import open_servers
from streamfea.streams.connection.errors import is_outage, must_stop, reason_of, remedy_of
from streamfea.streams.consuming.group import GroupConsumer
from streamfea.streams.consuming.legacy_lists import LegacyLists
from streamfea.streams.operating.diagnose import why_useless
from streamfea.worker.joining import joining
from streamfea.worker.outage import OutageRetry
from streamfea.worker.process_guard import end_if_child
from streamfea.worker.stop_signal import StopSignal

__all__ = ["preflight"]

log = structlog.get_logger(__name__)


def preflight(settings: Settings, queues: Sequence[Queue], stop: StopSignal, *, tables: bool) -> None:
    """Make sure that workers for `queues` can work: handlers, both servers, tables; `tables` creates missing ones.

    Waits for a server that is away. Raises `QueuesError` when some queues have what waiting does not mend,
    `ConfigurationError` when all have, `Interrupted` when `stop` is set.
    """
    for unknown in unknown_libraries():
        log.warning("a library is not known", reason=str(unknown))
    handlers, errors = _loaded(queues)
    end_if_child()
    if handlers:
        with open_servers(settings, queues[0], session_name(queues[0].ref, "preflight")) as (engine, client):
            postgresql = OutageRetry("PostgreSQL", _is_worth_waiting, stop)
            redis = OutageRetry("Redis", is_outage, stop)
            errors |= postgresql.call(lambda: _tables_lacking(engine, handlers, tables, is_whole=not errors))
            redis.call(partial(_log_in, client))
            for queue in (handler.queue for handler in handlers if handler.queue.name not in errors):
                group = GroupConsumer(client, queue.ref, "preflight", queue.claim_idle)
                join = joining(group, ledger_of(queue), open_sessions(engine), redis, postgresql)
                if error := _keys_unusable(client, queue, redis, join):
                    errors[queue.name] = error
    if errors:
        raise QueuesError(errors)


def _log_in(client: Redis) -> None:
    """Raise a refusal that concerns every queue; PING may not be permitted."""
    with suppress(ResponseError):  # a command that is lacking or forbidden, as for a Sentinel, is told for each queue
        client.time()


def _is_worth_waiting(error: BaseException) -> bool:
    is_cut_off = isinstance(getattr(error, "orig", None), QueryCanceled)  # statement_timeout, behind somebody's lock
    return (whose_fault(error) is Fault.OUTAGE or is_cut_off) and not is_refusal(error)


def _loaded(queues: Sequence[Queue]) -> tuple[list[Handler], dict[str, ConfigurationError]]:
    """Return the handlers that can be imported, and by queue why others cannot."""
    handlers: list[Handler] = []
    errors: dict[str, ConfigurationError] = {}
    for queue in queues:
        try:
            handlers.append(load_handler(queue))
        except ConfigurationError as error:
            errors[queue.name] = error
    return handlers, errors


def _tables_lacking(
    engine: Engine, handlers: list[Handler], create: bool, *, is_whole: bool
) -> dict[str, ConfigurationError]:
    """Return by queue the error about its tables.

    Unless `is_whole`, a handler that cannot be imported may have left models behind that belong to no handler.
    """
    schemas = [schema for schema in all_schemas(handlers) if is_whole or schema.name != OTHER_MODELS]
    if create:
        created = create_all(engine, schemas).created
        if created:
            log.info("created tables", tables=created)
    with engine.connect() as connection:
        if not amiss(connection, schemas):
            return {}
        lacking = {handler.queue.name: amiss(connection, _needed(handler, schemas)) for handler in handlers}
    return {name: error for name, error in lacking.items() if error}


def _needed(handler: Handler, schemas: Sequence[HandlerSchema]) -> list[HandlerSchema]:
    """Return the part of `schemas` that one handler needs."""
    names = {handler.module.__name__, OTHER_MODELS}
    if ledger_of(handler.queue) is not None:
        names.add(OWN_TABLES)
    return [schema for schema in schemas if schema.name in names]


def _keys_unusable(
    client: Redis, queue: Queue, redis: OutageRetry, join: Callable[[], object]
) -> ConfigurationError | None:
    """Return the error that says why no worker of a queue can work with its keys; creates the group."""
    what = f"queue {queue.name}"
    try:
        useless = redis.call(lambda: why_useless(client, queue))
        if useless is not None:
            return ConfigurationError(f"redis, {what}: {useless[0]}", remedy=useless[1])
        join()
        what = f"shim of {what}"
        redis.call(LegacyLists(client, queue.legacy_lists, queue.stream, queue.field).check)
    except RedisError as error:
        if not must_stop(error):
            raise
        return ConfigurationError(f"redis, {what}: {reason_of(error)}", remedy=remedy_of(error))
    return None
