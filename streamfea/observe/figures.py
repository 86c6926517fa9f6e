"""The figures of the work: counters and histograms in memory that the processes of one `consume` share.

The supervisor maps the memory before it forks, with a row for each worker's place. The process that takes a place goes
on counting where the one before it stopped, so a counter never goes back, however often workers die. It is anonymous
memory: nothing is left in a file system, and none is needed.
"""

import mmap
import time
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamfea.observe import events
from streamfea.observe.events import Event, Server

__all__ = ["COUNTERS", "HISTOGRAMS", "Counter", "Figures", "Histogram", "Row"]

_SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
_LATENCIES = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    900.0,
    3600.0,
)
_RECORDS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0)


@dataclass(frozen=True, slots=True)
class Counter:
    """A number that only grows; with a `label`, one for each of its `values`."""

    name: str
    help: str
    label: str = ""
    values: tuple[str, ...] = ("",)


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many observations were at most as large as each of `bounds`, and their sum."""

    name: str
    help: str
    bounds: tuple[float, ...]


COUNTERS = (
    Counter("records_done", "Records whose transaction has committed."),
    Counter("records_failed", "Runs of records that failed, Retry included; each is tried again or given up."),
    Counter("records_rejected", "Records that can never succeed, by Reject or because they do not decode."),
    Counter("records_retried", "Runs of records that had been delivered before."),
    Counter("records_reclaimed", "Entries taken over that a dead consumer had left."),
    Counter("records_duplicate", "Records that exactly-once found done already."),
    Counter(
        "dead_letters",
        "Dead letters written, by reason.",
        "reason",
        ("rejected", "failed", "crashed", "timeout", "no-record"),
    ),
    Counter("worker_starts", "Worker processes started."),
    Counter("worker_crashes", "Worker processes that died, or were killed for a record that ran too long."),
    Counter("outages", "Waits for a server that did not answer, or refused.", "server", ("Redis", "PostgreSQL")),
    Counter("outage_seconds", "Seconds spent in these waits.", "server", ("Redis", "PostgreSQL")),
)
HISTOGRAMS = (
    Histogram("batch_records", "Records in a transaction.", _RECORDS),
    Histogram("redis_wait_seconds", "Wait for the reply to a read of new entries; not of an idle queue.", _SECONDS),
    Histogram("handler_seconds", "Time that a transaction's records spent in the handler.", _SECONDS),
    Histogram("write_seconds", "Time to write the rows of a transaction.", _SECONDS),
    Histogram("commit_seconds", "Time from the last row of a transaction to the end of COMMIT.", _SECONDS),
    Histogram("acknowledge_seconds", "Time to tell Redis what became of the records of a transaction.", _SECONDS),
    Histogram("latency_seconds", "Time from the entry's id, when it was added, to its commit.", _LATENCIES),
)
# Milliseconds since 1970 have so many digits from 2001 to 2286. Ids that producers chose tell no latency.
_TIME_DIGITS = 13

# Beside what is counted: times of the monotonic clock, which all processes of a host share, or 0.
_STATES = ("wanted", "process", "ready", "moved_at", "waiting_for_redis_since", "waiting_for_postgresql_since")
_WAITING: dict[Server, str] = {"Redis": "waiting_for_redis_since", "PostgreSQL": "waiting_for_postgresql_since"}


def _cells() -> tuple[dict[tuple[str, str], int], dict[str, int], int]:
    """Return where each counter and histogram begins in a row, and how many cells a row has."""
    counters: dict[tuple[str, str], int] = {}
    for counter in COUNTERS:
        for value in counter.values:
            counters[counter.name, value] = len(_STATES) + len(counters)
    at = len(_STATES) + len(counters)
    histograms: dict[str, int] = {}
    for histogram in HISTOGRAMS:
        histograms[histogram.name] = at
        at += len(histogram.bounds) + 2  # what is larger than all bounds, and the sum
    return counters, histograms, at


_COUNTER_AT, _HISTOGRAM_AT, _WIDTH = _cells()
_BOUNDS = {histogram.name: histogram.bounds for histogram in HISTOGRAMS}


class Row:
    """The figures of one worker's place. One process writes a cell at a time; any may read."""

    def __init__(self, queue: str, timeout_seconds: float, cells: "memoryview[float]") -> None:
        self.queue = queue
        self.timeout_seconds = timeout_seconds  # of a record
        self._cells = cells

    # The supervisor's side

    def set_out(self) -> None:
        """Say that a process is to take the place."""
        self._set("wanted", 1.0)
        self.moves()

    def starts(self, pid: int) -> None:
        """Say that a process has taken the place."""
        self.count("worker_starts")
        self._set("wanted", 1.0)
        self._set("process", pid)

    def ends(self, *, crashed: bool, wanted: bool) -> None:
        """Say that the process is gone; another one follows if one is `wanted`."""
        if crashed:
            self.count("worker_crashes")
        self.stop_waiting("Redis")
        self.stop_waiting("PostgreSQL")
        self._set("wanted", wanted)
        self._set("process", 0.0)
        self._set("ready", 0.0)

    # The worker's side

    def count(self, counter: str, by: float = 1.0, value: str = "") -> None:
        """Add to a counter."""
        self._cells[_COUNTER_AT[counter, value]] += by

    def observe(self, histogram: str, value: float, times: int = 1) -> None:
        """Add `times` observations of `value` to a histogram."""
        at, bounds = _HISTOGRAM_AT[histogram], _BOUNDS[histogram]
        self._cells[at + bisect_left(bounds, value)] += times
        self._cells[at + len(bounds) + 1] += value * times

    def reads(self) -> None:
        """Say that the worker has joined its group, and reads from now on."""
        self._set("ready", 1.0)
        self.moves()

    def moves(self) -> None:
        """Say that something was done, or that there was nothing to do."""
        self._set("moved_at", time.monotonic())

    def waits_for(self, server: Server) -> None:
        """Say that a server is away."""
        self.count("outages", value=server)
        self._set(_WAITING[server], time.monotonic())

    def stop_waiting(self, server: Server) -> None:
        """Say that a server is back."""
        seconds = self.waiting_seconds(server)
        if seconds:
            self.count("outage_seconds", seconds, server)
            self._set(_WAITING[server], 0.0)

    # The reader's side

    @property
    def pid(self) -> int:
        """The process in the place, or 0."""
        return int(self._get("process"))

    @property
    def ready(self) -> bool:
        """Whether the process reads."""
        return bool(self._get("ready"))

    @property
    def wanted(self) -> bool:
        """Whether a process is to be in the place: none is when its work is done, or its queue cannot work."""
        return bool(self._get("wanted"))

    def still_seconds(self) -> float:
        """Return for how long nothing has moved."""
        return time.monotonic() - self._get("moved_at")

    def waiting_seconds(self, server: Server) -> float:
        """Return for how long a server has been waited for; 0 when it is not."""
        since = self._get(_WAITING[server])
        return time.monotonic() - since if since else 0.0

    def total(self, counter: str, value: str = "") -> float:
        """Return a counter, with the seconds of a wait that lasts still."""
        counted = float(self._cells[_COUNTER_AT[counter, value]])
        if counter != "outage_seconds":
            return counted
        return counted + self.waiting_seconds("Redis" if value == "Redis" else "PostgreSQL")

    def distribution(self, histogram: str) -> tuple[list[float], float]:
        """Return how many observations are in each bucket, the one without a bound last, and their sum."""
        at, size = _HISTOGRAM_AT[histogram], len(_BOUNDS[histogram]) + 1
        return list(self._cells[at : at + size]), float(self._cells[at + size])

    def observer(self) -> Callable[[Event], None]:
        """Return an observer that counts what happens in the place's worker."""
        return _Counting(self)

    def _get(self, state: str) -> float:
        return float(self._cells[_STATES.index(state)])

    def _set(self, state: str, value: float) -> None:
        self._cells[_STATES.index(state)] = value


class Figures:
    """The rows of all workers' places, in memory that processes forked later share."""

    def __init__(self, places: Sequence[tuple[str, float]]) -> None:
        """Make a row for each place: its queue, and the seconds that a record may take."""
        size = _WIDTH * 8
        memory = memoryview(mmap.mmap(-1, max(1, len(places)) * size))
        self.rows = [
            Row(queue, timeout_seconds, memory[index * size : (index + 1) * size].cast("d"))
            for index, (queue, timeout_seconds) in enumerate(places)
        ]
        for row in self.rows:
            row.set_out()

    def by_queue(self) -> dict[str, list[Row]]:
        """Return the rows of each queue."""
        rows: dict[str, list[Row]] = {}
        for row in self.rows:
            rows.setdefault(row.queue, []).append(row)
        return rows


class _Counting:
    """Counts the events of one worker in its row."""

    def __init__(self, row: Row) -> None:
        self._row = row

    def __call__(self, event: Event) -> None:
        row = self._row
        row.moves()
        match event:
            case events.EntriesRead(entries=entries, wait_seconds=seconds):
                if entries and seconds is not None:
                    row.observe("redis_wait_seconds", seconds)
            case events.BatchCommitted():
                self._committed(event)
            case events.EntriesClaimed(entries=entries, due=due):
                row.count("records_reclaimed", entries - due)
            case events.RecordsBuried(failures=failures):
                for failure in failures:
                    row.count("dead_letters", value=failure.then)
            case events.WorkerStarted():
                row.reads()
            case events.OutageBegan(server=server):
                row.waits_for(server)
            case events.OutageEnded(server=server):
                row.stop_waiting(server)

    def _committed(self, event: events.BatchCommitted) -> None:
        row = self._row
        row.count("records_done", len(event.done))
        row.count("records_duplicate", event.duplicates)
        row.count("records_failed", event.failed)
        row.count("records_rejected", event.rejected)
        if event.retried:
            row.count("records_retried", event.records)
        row.observe("batch_records", event.records)
        row.observe("handler_seconds", event.run_seconds)
        row.observe("write_seconds", event.write_seconds)
        row.observe("commit_seconds", event.commit_seconds)
        row.observe("acknowledge_seconds", event.settle_seconds)
        now_ms = event.committed_at * 1000
        # Entries that are added at once have the same time. Cut by length, since this is done for every record.
        for added, times in Tally([entry_id[:_TIME_DIGITS] for entry_id in event.done]).items():
            if added.isdigit() and len(added) == _TIME_DIGITS:
                row.observe("latency_seconds", max(0.0, now_ms - int(added)) / 1000, times)
