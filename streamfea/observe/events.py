"""What happens in a worker, as typed values: at most one for a transaction or a settlement, none for a record.

Whoever wants to know (the log, figures, traces) is an `Observer`. An observer is called by the worker's own threads,
in the middle of work: it must not wait for anything, and what it raises ends the worker.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "BatchCommitted",
    "BatchRepeated",
    "EntriesClaimed",
    "EntriesGivenUp",
    "EntriesHandedOver",
    "EntriesLost",
    "EntriesRead",
    "Event",
    "Failure",
    "HandOverFailed",
    "LongRecordsCame",
    "NameTaken",
    "Observer",
    "OutageBegan",
    "OutageEnded",
    "RecordsBuried",
    "RecordsPostponed",
    "Server",
    "TransactionsEnded",
    "WorkerStarted",
    "WorkerStopped",
    "all_of",
]


Server = Literal["Redis", "PostgreSQL"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a worker of a queue."""

    queue: str


@dataclass(frozen=True, slots=True)
class WorkerStarted(Event):
    """A worker has joined its group, and reads from now on."""

    stream: str
    consumer: str


@dataclass(frozen=True, slots=True)
class WorkerStopped(Event):
    """A worker has left, after `seconds`, with `committed` records done."""

    committed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class NameTaken(Event):
    """A worker waits for another process to give up the consumer's name."""

    consumer: str
    held_by: str


@dataclass(frozen=True, slots=True)
class BatchCommitted(Event):
    """A transaction has ended, and its entries are settled.

    `done` has the ids of the entries whose records were committed. Of the others, `duplicates` were known to the
    ledger, `failed` are tried again or given up, and `rejected` were refused by the handler. An entry that is `retried`
    had been delivered before, and was alone. `committed_at` is the time in seconds since 1970. The seconds are those in
    the handler, of writing rows, of the rest up to the end of COMMIT, and of telling Redis.
    """

    done: Sequence[str]
    duplicates: int
    failed: int
    rejected: int
    retried: bool
    committed_at: float
    run_seconds: float
    write_seconds: float
    commit_seconds: float
    settle_seconds: float

    @property
    def records(self) -> int:
        """How many records the transaction had."""
        return len(self.done) + self.duplicates + self.failed + self.rejected


@dataclass(frozen=True, slots=True)
class BatchRepeated(Event):
    """Other transactions were in the way: a deadlock, or a serialization failure. The same work is done again."""

    reason: str


@dataclass(frozen=True, slots=True)
class EntriesRead(Event):
    """Redis has been asked for new entries, and has sent some, or none.

    `wait_seconds` is the wait for the reply; None when that may have been a wait for the first entry.
    """

    entries: int
    wait_seconds: float | None


@dataclass(frozen=True, slots=True)
class EntriesClaimed(Event):
    """Entries are this worker's now: of them, `due` had failed before, and others were left by dead consumers."""

    entries: int
    due: int
    owners: Sequence[str]


@dataclass(frozen=True, slots=True)
class Failure:
    """One record that has failed: its error in a line, the handler's line, and the delay or the reason."""

    entry_id: str
    error_type: str
    error: str
    where: str
    then: str


@dataclass(frozen=True, slots=True)
class RecordsPostponed(Event):
    """Records have failed and are tried again; `then` of each failure is the delay."""

    failures: Sequence[Failure]


@dataclass(frozen=True, slots=True)
class RecordsBuried(Event):
    """Records were given up; `then` of each failure is the reason of its dead letter."""

    failures: Sequence[Failure]


@dataclass(frozen=True, slots=True)
class EntriesHandedOver(Event):
    """Entries that were not started are available to others."""

    entries: int


@dataclass(frozen=True, slots=True)
class EntriesGivenUp(Event):
    """PostgreSQL lets this worker in no more: its entries go to others."""

    entries: int


@dataclass(frozen=True, slots=True)
class HandOverFailed(Event):
    """Redis does not answer: others take over after `claim_idle` what this worker holds."""

    reason: str | None


@dataclass(frozen=True, slots=True)
class EntriesLost(Event):
    """Others have claimed entries that this worker was too slow to keep."""

    entries: int


@dataclass(frozen=True, slots=True)
class LongRecordsCame(Event):
    """A reply was longer than memory has room for: its entries run one by one."""


@dataclass(frozen=True, slots=True)
class TransactionsEnded(Event):
    """Database sessions of consumers that have stopped were ended, so that nobody waits for them."""

    consumers: Sequence[str]


@dataclass(frozen=True, slots=True)
class OutageBegan(Event):
    """A server does not answer, or refuses; work waits."""

    server: Server
    reason: str


@dataclass(frozen=True, slots=True)
class OutageEnded(Event):
    """Work goes on, after `seconds`."""

    server: Server
    seconds: float


Observer = Callable[[Event], None]


def all_of(observers: Sequence[Observer]) -> Observer:
    """Return an observer that tells all of these, in order."""

    def observe(event: Event) -> None:
        for observer in observers:
            observer(event)

    return observe
