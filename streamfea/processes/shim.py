"""The process that moves elements of a queue's lists to its stream."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait

import structlog
from redis import Redis
from redis.exceptions import RedisError

from streamfea.config.sections import Queue
from streamfea.config.settings import Settings
from streamfea.errors import ConfigurationError
from streamfea.streams.connection.client import open_redis
from streamfea.streams.connection.errors import is_outage, must_stop, reason_of, remedy_of
from streamfea.streams.consuming.legacy_lists import LegacyLists
from streamfea.worker.outage import Interrupted, OutageRetry
from streamfea.worker.stop_signal import StopSignal

__all__ = ["feeding", "run_shim"]

log = structlog.get_logger(__name__)

_LAST_MOMENT_SECONDS = 1.0


def run_shim(settings: Settings, queues: Sequence[Queue], stop: StopSignal, *, until_empty: bool = False) -> None:
    """Move elements of `queues`' lists to their streams until `stop` is set or, with `until_empty`, all are moved.

    Raises `ConfigurationError` when only the operator can help.
    """
    with feeding(settings, queues, stop, until_empty=until_empty) as shims:
        while not stop.is_set() and (running := [shim for shim in shims if not shim.has_ended()]):
            wait([stop.fileno(), *(shim.fileno() for shim in running)])


@contextmanager
def feeding(
    settings: Settings, queues: Sequence[Queue], stop: StopSignal, *, until_empty: bool = False
) -> Iterator[list["Shim"]]:
    """Move elements of the lists of `queues` to their streams meanwhile; sets `stop` at the end and after a failure.

    Ends at once: a shim never holds anything that could be lost. Raises `ConfigurationError` at the end when only the
    operator can help.
    """
    shims = [Shim(settings, queue, stop, until_empty=until_empty) for queue in queues if queue.legacy_lists]
    for shim in shims:
        shim.start()
    try:
        yield shims
    finally:
        stop.set()
        for shim in shims:
            shim.end()
    for shim in shims:
        shim.raise_error()


class Shim:
    """Feeds one queue's stream in a thread, so that the main thread hears signals while this one waits for elements."""

    def __init__(self, settings: Settings, queue: Queue, stop: StopSignal, *, until_empty: bool = False) -> None:
        self._queue = queue
        self._stop = stop
        self._until_empty = until_empty
        self._client: Redis = open_redis(settings.redis, queue.block)
        self._lists = LegacyLists(self._client, queue.legacy_lists, queue.stream, queue.field)
        self._redis = OutageRetry("Redis", is_outage, stop)
        self._moved = dict.fromkeys(queue.legacy_lists, 0)
        self._ended = StopSignal()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"shim-{queue.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """End, whatever it waits for; `stop` has to be set."""
        self._client.close()
        self._thread.join(_LAST_MOMENT_SECONDS)
        log.info("moved from lists", queue=self._queue.name, moved=self._moved)

    def raise_error(self) -> None:
        """Raise the error that has ended it, if any: `ConfigurationError` when only the operator can help."""
        if self._error is not None:
            raise self._error

    def has_ended(self) -> bool:
        """Tell whether it has ended by itself."""
        return self._ended.is_set()

    def fileno(self) -> int:
        """Return a descriptor that is readable once it has ended by itself."""
        return self._ended.fileno()

    def _run(self) -> None:
        try:
            self._feed()
        except Interrupted:
            pass
        except Exception as error:
            if self._stop.is_set():  # and with it, its connection closed under its feet
                log.debug("ended in the middle of something", queue=self._queue.name, error=repr(error))
                return
            self._error = self._explained(error)
            self._stop.set()
        finally:
            self._ended.set()

    def _feed(self) -> None:
        log.info("moving from lists", queue=self._queue.name, lists=list(self._moved), stream=self._queue.stream)
        while not self._stop.is_set():
            moved = self._redis.call(self._move)
            if moved:
                continue
            if self._until_empty:
                return
            self._redis.call(lambda: self._lists.wait(self._queue.block))

    def _move(self) -> int:
        total = 0
        for moved in self._lists.move():
            self._moved[moved.key] += moved.elements
            total += moved.elements
        return total

    def _explained(self, error: Exception) -> Exception:
        if isinstance(error, RedisError) and must_stop(error):
            return ConfigurationError(
                f"redis, shim of queue {self._queue.name}: {reason_of(error)}", remedy=remedy_of(error)
            )
        return error
