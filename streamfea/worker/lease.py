"""Keeps what a slow batch holds, and the consumer's name, from being claimed by others."""

import os
import threading
from collections.abc import Callable, Collection
from datetime import timedelta

import structlog
from redis.exceptions import RedisError

from streamfea.observe.events import EntriesLost, Observer
from streamfea.streams.consuming.group import GroupConsumer
from streamfea.streams.consuming.name_lock import NameLock
from streamfea.worker.held import Held
from streamfea.worker.monitor import RunMonitor

__all__ = ["Lease", "renew_every"]

log = structlog.get_logger(__name__)


class Lease:
    """A thread beside the worker's loop that renews its name and the entries it holds.

    A worker that is slow but alive thus keeps its entries. One whose process is stopped does not, and must not: nobody
    could tell it from a dead one. For one whose handler holds the interpreter's lock, a process beside it renews
    (`streamfea.processes.lease_substitute`): `monitor` is told each time that this thread runs, and `beside` called, to
    renew what it holds with the rest.
    """

    def __init__(
        self,
        group: GroupConsumer,
        name_lock: NameLock,
        monitor: RunMonitor,
        held: Held,
        observe: Observer,
        beside: Callable[[], object] = lambda: None,
    ) -> None:
        self._group = group
        self._name_lock = name_lock
        self._monitor = monitor
        self._beside = beside
        self.every_seconds = renew_every(group.claim_idle)
        self._held = held
        self._observe = observe
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Start renewing."""
        self._monitor.beat()
        self._thread.start()

    def end(self) -> None:
        """Stop renewing, and wait for a renewal under way."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def renew(self) -> set[str]:
        """Renew what is held; return the ids of what others have claimed meanwhile, which is renewed no more.

        Raises what redis-py raises when the server is away.
        """
        return self._held.renew(self._renew)

    def _renew(self, entry_ids: Collection[str]) -> set[str]:
        lost = self._group.renew(entry_ids)
        if lost:
            self._observe(EntriesLost(self._group.ref.queue, len(lost)))
        return lost

    def _run(self) -> None:
        while not self._ended.wait(self.every_seconds):
            self._monitor.beat()
            for step in (self.renew, self._keep_name, self._beside):
                if self._ended.is_set():
                    return
                try:
                    step()
                except RedisError as error:
                    # The loop meets the same error and waits for the server; until then nobody else can claim either.
                    log.debug("could not renew", reason=str(error))

    def _keep_name(self) -> None:
        other = self._name_lock.renew()
        if other is not None:
            # Whatever this process acknowledged, postponed or handed over from now on would be the other's.
            log.error("another process consumes under this name: ending at once", name=self._group.consumer, by=other)
            os._exit(1)


def renew_every(claim_idle: timedelta) -> float:
    """Return how many seconds lie between two renewals of what a worker holds, and of its name."""
    return min(claim_idle.total_seconds() / 3, NameLock.RENEW_EVERY_SECONDS)
