"""What others see of one `consume` while it works: figures and health over HTTP, and what systemd is told."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import ForkProcess

import structlog

from streamfea.config.sections import Queue
from streamfea.config.settings import Settings
from streamfea.observe.events import Observer
from streamfea.observe.figures import Figures, Row
from streamfea.observe.health import illnesses, waits
from streamfea.processes.child import keep_from_others
from streamfea.processes.figures_server import figures_main, listening_socket
from streamfea.processes.forking import Liveness, fork
from streamfea.processes.systemd import notify, watchdog_seconds
from streamfea.worker.monitor import RunMonitor

__all__ = ["Outlook"]

log = structlog.get_logger(__name__)

_START_AGAIN_AFTER_SECONDS = 1.0


class Outlook:
    """The figures of all workers' places, and who is shown them; nothing is counted when nobody is.

    `places` are the workers': the queue of each, and the monitor of its records. Raises `ConfigurationError` when the
    address of `[metrics]` cannot be listened at.
    """

    def __init__(self, settings: Settings, places: Sequence[tuple[Queue, RunMonitor]], liveness: Liveness) -> None:
        self._settings = settings
        self._monitors = [monitor for _, monitor in places]
        self._liveness = liveness
        address = settings.metrics.listen
        self._listener = None if address is None else listening_socket(address, "metrics.listen")
        if self._listener is not None:
            keep_from_others(self._listener)
        is_shown = self._listener is not None or "NOTIFY_SOCKET" in os.environ
        self._figures = (
            Figures([(queue.name, queue.timeout.total_seconds()) for queue, _ in places]) if is_shown else None
        )
        self._server: ForkProcess | None = None
        self._start_at = 0.0
        self._systemd = _Systemd()

    @property
    def rows(self) -> Sequence[Row | None]:
        """The figures of each place; None where nobody is shown them."""
        return [None] * len(self._monitors) if self._figures is None else self._figures.rows

    def keep_up(self) -> None:
        """Start the process that serves the figures if none runs, and tell systemd how the workers are."""
        if self._listener is not None and not (self._server is not None and self._server.is_alive()):
            self._serve()
        self.tell()

    def tell(self) -> None:
        """Tell systemd how the workers are."""
        if self._figures is None:
            return
        running = [(monitor.running() or ("", 0.0))[1] for monitor in self._monitors]
        self._systemd.tell(waits(self._figures), illnesses(self._figures, running))

    def end(self) -> ForkProcess | None:
        """Say that the work ends; return the process that ends with the workers, if there is one."""
        self._systemd.end()
        if self._listener is not None:
            self._listener.close()
        return self._server

    def _serve(self) -> None:
        if self._server is not None and time.monotonic() < self._start_at:
            return
        if self._server is not None:
            log.warning("the process that serves metrics died: starting another", exit_code=self._server.exitcode)
        arguments = (self._settings, self._listener, self._figures, self._monitors)
        self._server, _ = fork(figures_main, arguments, "metrics", self._liveness)
        self._start_at = time.monotonic() + _START_AGAIN_AFTER_SECONDS


@contextmanager
def shown(settings: Settings, queue: Queue, monitor: RunMonitor) -> Iterator[Sequence[Observer]]:
    """Show the figures of a worker that runs in this process; yield the observers that it is to tell.

    The process that serves them is not replaced: a worker has connections and threads that a fork would copy.
    """
    liveness = os.pipe()
    outlook = Outlook(settings, [(queue, monitor)], liveness)
    [row] = outlook.rows
    if row is not None:
        row.starts(os.getpid())
    outlook.keep_up()
    try:
        yield () if row is None else (row.observer(), lambda _: outlook.tell())
    finally:
        for descriptor in liveness:
            os.close(descriptor)
        if (server := outlook.end()) is not None:
            server.join()


class _Systemd:
    """Tells systemd when something has changed, and that the workers are well while they are."""

    def __init__(self) -> None:
        seconds = watchdog_seconds()
        self._every = None if seconds is None else seconds / 2
        self._told_at = float("-inf")
        self._is_ready = False
        self._status = ""

    def tell(self, waiting: Sequence[str], ill: Sequence[str]) -> None:
        """Tell what has changed."""
        if not waiting and not self._is_ready:
            self._is_ready = True
            notify("READY=1")
        status = "; ".join([*ill, *waiting]) or "every worker is ready"
        if status != self._status:
            self._status = status
            notify(f"STATUS={status}")
        now = time.monotonic()
        if self._every is not None and not ill and now - self._told_at >= self._every:
            self._told_at = now
            notify("WATCHDOG=1")

    def end(self) -> None:
        """Tell that the service ends."""
        notify("STOPPING=1")
