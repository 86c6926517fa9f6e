"""Is all as it should be: configuration, handlers, both servers, permissions and tables."""

from collections.abc import Callable, Iterator, Sequence

from streamfea.admin.servers import open_client, open_engine
from streamfea.config.sections import Queue
from streamfea.config.settings import Settings
from streamfea.core.check_result import CheckResult
from streamfea.database.schema.diagnose import inspect_database
from streamfea.database.schema.setup import all_schemas
from streamfea.errors import ConfigurationError, StreamfeaError
from streamfea.handlers.loading import Handler, load_handler
from streamfea.handlers.schemas import models_of
from streamfea.orm.lazy_state import DROP, REJECT
from streamfea.processes.libraries import unknown_libraries
from streamfea.streams.operating.diagnose import inspect_redis

__all__ = ["check"]

_DISPOSAL = {DROP: 'drop them (__unknown_keys__ = "drop")', REJECT: 'reject the record (__unknown_keys__ = "reject")'}

_Look = Callable[[Handler], Iterator[CheckResult]]


def check(settings: Settings, look_at_handler: _Look = lambda _: iter(())) -> Iterator[CheckResult]:
    """Yield the results of all checks, each as it is found. Changes nothing.

    `look_at_handler` is asked about each handler that can be imported: for what only a face can judge.
    """
    queues = settings.select([])
    yield CheckResult("configuration", "ok", f"{settings.source}: {', '.join(queue.name for queue in queues)}")
    for unknown in unknown_libraries():
        yield CheckResult("libraries", "warning", unknown.message, unknown.remedy)
    handlers: list[Handler] = []
    for queue in queues:
        yield from _handler(queue, handlers, look_at_handler)
    yield from _redis(settings, queues)
    yield from _database(settings, handlers)


def _handler(queue: Queue, handlers: list[Handler], look_at_handler: _Look) -> Iterator[CheckResult]:
    """Look at a queue's handler, and add it to `handlers` if it can be used."""
    what = f"queue {queue.name}: handler"
    try:
        handler = load_handler(queue)
        yield CheckResult(what, "ok", queue.handler)
        handlers.append(handler)
        yield from _unknown_keys(handler)
        yield from look_at_handler(handler)
    except ConfigurationError as error:
        yield CheckResult(what, "problem", error.message, error.remedy or "correct the handler or its name")


def _unknown_keys(handler: Handler) -> Iterator[CheckResult]:
    """Report whether the handler's models drop or reject unknown keys of a record."""
    done: dict[str, list[str]] = {}
    for model in models_of(handler):
        done.setdefault(str(getattr(model, "__unknown_keys__", DROP)), []).append(model.__name__)
    if done:
        found = "; ".join(f"{', '.join(names)} {_DISPOSAL[how]}" for how, names in sorted(done.items()))
        yield CheckResult(f"queue {handler.queue.name}: unknown keys", "ok", found)


def _redis(settings: Settings, queues: Sequence[Queue]) -> Iterator[CheckResult]:
    try:
        with open_client(settings) as client:
            yield from inspect_redis(client, queues)
    except StreamfeaError as error:
        yield CheckResult("redis", "problem", error.message, error.remedy or "correct the section [redis]")


def _database(settings: Settings, handlers: Sequence[Handler]) -> Iterator[CheckResult]:
    try:
        with open_engine(settings) as engine:
            yield from inspect_database(engine, all_schemas(handlers))
    except StreamfeaError as error:
        yield CheckResult("database", "problem", error.message, error.remedy or "correct the section [database]")
