"""Which entries a worker holds, for the threads of its process."""

import threading
from collections.abc import Callable, Collection, Iterable

from streamfea.core.entry import Entry
from streamfea.streams.consuming.group import Claimed

__all__ = ["Held"]


class Held:
    """The entries that were delivered to a worker and are not settled, each as it is to be given back.

    The loop adds and drops; the thread of the lease renews. A renewal holds the lock while it asks the server, so that
    an entry that is dropped cannot be renewed afterwards: its idle time may mean a retry.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, Claimed | Entry] = {}
        # Those that other workers have claimed meanwhile; they are renewed no more.
        self._lost: set[str] = set()

    def add(self, entries: Iterable[Claimed | Entry]) -> None:
        """Hold these from now on."""
        with self._lock:
            for entry in entries:
                self._entries[entry.id] = entry

    def drop(self, entry_ids: Iterable[str]) -> None:
        """Hold these no more: they are settled, or given away."""
        with self._lock:
            for entry_id in entry_ids:
                self._entries.pop(entry_id, None)
                self._lost.discard(entry_id)

    def drop_all(self) -> None:
        """Hold nothing any more."""
        with self._lock:
            self._entries.clear()
            self._lost.clear()

    def renew(self, renew: Callable[[Collection[str]], set[str]]) -> set[str]:
        """Call `renew` with the ids of all entries; return the ids of those that it, or an earlier call, found lost."""
        with self._lock:
            ids = self._entries.keys() - self._lost
            if ids:
                self._lost |= renew(ids)
            return set(self._lost)

    @property
    def entries(self) -> list[Claimed | Entry]:
        """The entries, in the order in which they came."""
        with self._lock:
            return list(self._entries.values())

    def __contains__(self, entry_id: object) -> bool:
        return entry_id in self._entries

    def __len__(self) -> int:
        return len(self._entries)
