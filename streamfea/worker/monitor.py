"""Which record a worker runs, since when, and whether the threads of its process run."""

import ctypes
import mmap
import time

from streamfea.core.entry import Entry
from streamfea.database.connection.vigil import RunClock

__all__ = ["RunMonitor", "SharedRunMonitor"]

_LONGEST_ENTRY_ID = 64


class RunMonitor(RunClock):
    """Hears when a record starts and ends, and that the process' threads run. The supervisor reads it."""

    at_hand: Entry | None = None
    """The entry whose record runs in this process."""

    def started(self, entry: Entry) -> None:
        """`entry`'s record is about to run."""
        self.at_hand = entry

    def ended(self) -> None:
        """No record runs."""
        self.at_hand = None

    def beat(self) -> None:
        """Note that a thread beside the record's runs: its handler does not hold the interpreter's lock."""

    def running(self) -> tuple[str, float] | None:
        """Return the id of the entry whose record runs, and for how many seconds it has, as far as that is known."""
        return None


class _Shared(ctypes.Structure):
    _fields_ = (
        ("since", ctypes.c_double),
        ("beat_at", ctypes.c_double),
        ("paused_at", ctypes.c_double),
        ("not_counted", ctypes.c_double),
        ("entry_id", ctypes.c_char * _LONGEST_ENTRY_ID),
    )


class SharedRunMonitor(RunMonitor):
    """Which record a worker runs, and since when, in memory that the supervisor sees.

    Anonymous memory, which a fork shares: multiprocessing's needs a file system to write to.
    """

    def __init__(self) -> None:
        self._shared = _Shared.from_buffer(mmap.mmap(-1, ctypes.sizeof(_Shared)))

    def reset(self) -> None:
        """Be as good as new for another process."""
        ctypes.memset(ctypes.addressof(self._shared), 0, ctypes.sizeof(_Shared))

    def started(self, entry: Entry) -> None:
        """`entry`'s record is about to run."""
        self.at_hand = entry
        self._shared.entry_id = entry.id.encode()
        self._shared.not_counted = 0.0
        self._shared.since = time.monotonic()

    def ended(self) -> None:
        """No record runs."""
        self.at_hand = None
        self._shared.since = 0.0

    def beat(self) -> None:
        """Note that a thread beside the record's runs."""
        self._shared.beat_at = time.monotonic()

    def is_blocked(self, for_seconds: float) -> bool:
        """Tell whether a record runs, and no other thread of its process has for so long."""
        beat_at = float(self._shared.beat_at)
        return self.seconds() > 0 and beat_at > 0 and time.monotonic() - beat_at > for_seconds

    def seconds(self) -> float:
        """Return for how long the record has been running; 0 when none does."""
        since = float(self._shared.since)
        return time.monotonic() - since if since else 0.0

    def pause(self) -> None:
        """PostgreSQL has gone silent."""
        self._shared.paused_at = time.monotonic()

    def resume(self, *, counts: bool) -> None:
        """Go on; what has passed since `pause()` is the record's after all if it `counts`."""
        if not counts:
            self._shared.not_counted += self._paused_seconds()
        self._shared.paused_at = 0.0

    def counted_seconds(self) -> float:
        """Return for how long the record has been running while PostgreSQL was there for it."""
        return self.seconds() - float(self._shared.not_counted) - self._paused_seconds()

    def _paused_seconds(self) -> float:
        """Return for how long of the record's run the clock has been paused."""
        paused_at, since = float(self._shared.paused_at), float(self._shared.since)
        return time.monotonic() - max(paused_at, since) if paused_at and since else 0.0

    def running(self) -> tuple[str, float] | None:
        """Return the id of the entry whose record runs, and for how many seconds it has; None when none does."""
        seconds = self.seconds()
        return (self.entry_id, seconds) if seconds else None

    @property
    def entry_id(self) -> str:
        """The id of the entry whose record runs, or ran last."""
        return bytes(self._shared.entry_id).decode()
