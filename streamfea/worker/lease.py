"""Keeps what a slow batch holds, and the consumer's name, from being claimed by others."""

import os
import threading
from collections.abc import Callable, Iterable
from datetime import timedelta

import structlog
from redis.exceptions import RedisError

from streamfea.streams.consuming.group import GroupConsumer
from streamfea.streams.consuming.name_lock import NameLock
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
        self, group: GroupConsumer, name_lock: NameLock, monitor: RunMonitor, beside: Callable[[], object]
    ) -> None:
        self._group = group
        self._name_lock = name_lock
        self._monitor = monitor
        self._beside = beside
        self.every_seconds = renew_every(group.claim_idle)
        self._held: set[str] = set()  # entries to renew
        self._lost: set[str] = set()  # entries that others have claimed, until the loop drops them
        self._lock = threading.Lock()  # of both sets; taken after the reader's lock, never before it
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

    def hold(self, entry_ids: Iterable[str]) -> None:
        """Renew these from now on."""
        with self._lock:
            self._held.update(entry_ids)

    def drop(self, entry_ids: Iterable[str]) -> None:
        """Renew these no more: they are settled, or given away."""
        with self._lock:
            self._held.difference_update(entry_ids)
            self._lost.difference_update(entry_ids)

    def renew(self) -> set[str]:
        """Renew the held entries; return the ids of those that others have claimed, which are not held any more.

        Raises what redis-py raises when the server is away.
        """
        # Under the lock, so that an entry that is dropped cannot be renewed afterwards: its idle time may mean a retry.
        with self._lock:
            if self._held:
                lost = self._group.renew(self._held)
                self._held -= lost
                self._lost |= lost
                if lost:
                    log.warning("others have claimed entries that this worker was too slow to keep", entries=len(lost))
            return set(self._lost)

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
    """Return the seconds between two renewals of held entries and of the name."""
    return min(claim_idle.total_seconds() / 3, NameLock.RENEW_EVERY_SECONDS)
