"""The entry point of processes that the supervisor forks."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any
from weakref import WeakSet

import structlog

from streamfea.config.sections import Queue
from streamfea.config.settings import Settings
from streamfea.errors import ConfigurationError
from streamfea.observe.figures import Row
from streamfea.observe.logs import say_in_every_line
from streamfea.processes.shim import run_shim
from streamfea.processes.worker_process import run_worker
from streamfea.streams.consuming.name_lock import NameHolder
from streamfea.worker.monitor import RunMonitor
from streamfea.worker.outage import Interrupted
from streamfea.worker.process_guard import guarded
from streamfea.worker.retries import Predecessor
from streamfea.worker.stop_signal import StopSignal

__all__ = ["HELD_SIGNALS", "keep_from_others", "preflight_main", "run_in_child", "shim_main", "worker_main"]

log = structlog.get_logger(__name__)

# Held back from before the fork until the child has handlers of its own: its parent's would swallow them.
HELD_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LONGER_THAN_SUPERVISOR_SECONDS = 2.0

_listeners: WeakSet[socket.socket] = WeakSet()


def run_in_child(
    main: Callable[..., None], arguments: Sequence[Any], words: Connection, liveness: tuple[int, int]
) -> None:
    """Run `main(stop, *arguments)` and exit: 0 when it returns, 2 when it cannot work, 1 when it crashed.

    Why it cannot work goes to the supervisor through `words`: the error, whatever was raised.
    """
    reader, writer = liveness
    os.close(writer)
    for listener in _listeners:
        if listener not in arguments:
            listener.close()
    stop = StopSignal()
    # The terminal sends Ctrl-C to all processes; only the supervisor decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(
        target=_end_with_supervisor, args=(reader, stop, _grace(arguments)), name="liveness", daemon=True
    ).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)
    try:
        with guarded():
            main(stop, *arguments)
    except Interrupted:
        pass
    except ConfigurationError as error:
        words.send(error)
        sys.exit(2)
    except Exception as error:
        log.debug("crashed", exc_info=True)
        from streamfea.processes.complaints import complaint  # noqa: PLC0415 - its libraries are here when they raised

        said = complaint(error)
        words.send(ConfigurationError(said.message, remedy=said.remedy))
        sys.exit(1)


def keep_from_others(listener: socket.socket) -> None:
    """Have it closed in every process that it is not given to: the address would be taken as long as one lives."""
    _listeners.add(listener)


def preflight_main(stop: StopSignal, settings: Settings, queues: Sequence[Queue], create_tables: bool) -> None:
    """Find out whether workers for `queues` can work; raises `QueuesError` when some cannot."""
    from streamfea.processes.preflight import preflight  # noqa: PLC0415 - a tenth of a worker's memory, which needs none of it

    preflight(settings, queues, stop, tables=create_tables)


def worker_main(
    stop: StopSignal,
    settings: Settings,
    queue: Queue,
    consumer: str,
    holder: NameHolder,
    until_empty: bool,
    predecessors: Sequence[Predecessor],
    monitor: RunMonitor,
    row: Row | None,
) -> None:
    """Be the consumer `consumer` of `queue`."""
    say_in_every_line(queue=queue.name)
    run_worker(
        settings,
        queue,
        consumer,
        holder.in_this_process(),
        stop,
        until_empty=until_empty,
        predecessors=predecessors,
        monitor=monitor,
        observers=() if row is None else (row.observer(),),
    )


def shim_main(stop: StopSignal, settings: Settings, queue: Queue) -> None:
    """Feed the stream of `queue` from its lists."""
    say_in_every_line(queue=queue.name)
    run_shim(settings, [queue], stop)


def _end_with_supervisor(reader: int, stop: StopSignal, grace_seconds: float) -> None:
    """Wait for the end of the pipe that the supervisor holds open, then finish, at once if need be.

    A supervisor that is alive has closed it to stop, and counts those that it has to kill; it comes first.
    """
    os.read(reader, 1)
    stop.set()
    time.sleep(grace_seconds + _LONGER_THAN_SUPERVISOR_SECONDS)
    os._exit(1)


def _grace(arguments: Sequence[Any]) -> float:
    queues = [argument for argument in arguments if isinstance(argument, Queue)]
    return max((queue.shutdown_timeout.total_seconds() for queue in queues), default=5.0)
