"""The places of a supervisor's processes: when the next one starts, and whose work it takes over."""

import time
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess

from streamfea.config.sections import Queue
from streamfea.observe.figures import Row
from streamfea.worker.monitor import SharedRunMonitor
from streamfea.worker.retries import Predecessor

__all__ = ["Slot"]

_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 30.0
_LIVED_LONG_SECONDS = 10.0


class Slot:
    """The place of one worker, or of a queue's shim, and who is in it."""

    def __init__(self, queue: Queue, number: int, *, is_shim: bool = False) -> None:
        self.queue = queue
        self.number = number  # of the worker within its queue, from 1
        self.is_shim = is_shim
        self.consumer = ""  # the name that the process consumes under
        self.process: ForkProcess | None = None  # None while nothing runs here
        self.hides_its_end = False  # by having closed the pipe that the end of a process closes
        self.substitute: ForkProcess | None = None  # renews leases while the worker's handler blocks
        self.words: Connection | None = None  # says why the process cannot work
        self.monitor = SharedRunMonitor()  # says which record runs, and since when
        self.row: Row | None = None  # the figures of the place, if somebody is shown them
        self.predecessors: list[Predecessor] = []  # dead processes whose entries the next one takes over
        self.started_at = 0.0  # seconds of the monotonic clock, as the next one
        self.start_at = 0.0  # not before this is the next process started
        self.finished = False  # it has found nothing left to do (`until_empty`)
        self.timed_out = False  # the supervisor has killed it for a record that ran too long
        self._delay = _FIRST_DELAY_SECONDS  # before the next start

    def is_awaited(self) -> bool:
        """Tell whether `until_empty` has to wait for it; a shim goes on until the workers find its lists empty, too."""
        return not self.finished and not self.is_shim

    def restart_after(self, how: str) -> float:
        """Plan the next start of a place whose worker died; return in how many seconds that is."""
        if time.monotonic() - self.started_at > _LIVED_LONG_SECONDS:
            self._delay = _FIRST_DELAY_SECONDS
            self.predecessors.clear()
        how = f"timeout of {self.queue.timeout.total_seconds():g} s passed" if self.timed_out else how
        # With a name that stays, only the last process' end tells about the entries that it has left.
        self.predecessors = [other for other in self.predecessors if other.consumer != self.consumer]
        ran, _ = self.monitor.running() or ("", 0.0)
        self.predecessors.append(Predecessor(self.consumer, "timeout" if self.timed_out else "crashed", how, ran))
        self.timed_out = False
        # What a record can do is bounded by `max_deliveries`: the others need not wait longer and longer for it.
        if self.monitor.seconds() > 0:
            self._delay = _FIRST_DELAY_SECONDS
        delay, self._delay = self._delay, min(2 * self._delay, _LONGEST_DELAY_SECONDS)
        self.start_at = time.monotonic() + delay
        return delay
