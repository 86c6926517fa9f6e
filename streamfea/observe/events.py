"""What happens in a worker, as typed values: at most one for a transaction or a settlement, none for a record.

Whoever wants to know (the log, figures, traces) is an `Observer`. An observer is called by the worker's own threads,
in the middle of work: it must not wait for anything, and what it raises ends the worker.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = [
    "BatchCommitted",
    "BatchRepeated",
    "EntriesClaimed",
    "EntriesGivenUp",
    "EntriesHandedOver",
    "EntriesLost",
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
    "TransactionsEnded",
    "WorkerStarted",
    "WorkerStopped",
    "all_of",
]


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

    Of its entries, `done` were committed, `duplicates` known to the ledger, and `failed` not written. `alone` tells
    that the one entry had been delivered before. `settle_seconds` is the wait for Redis.
    """

    done: int
    duplicates: int
    failed: int
    alone: bool
    settle_seconds: float


@dataclass(frozen=True, slots=True)
class BatchRepeated(Event):
    """Other transactions were in the way: a deadlock, or a serialization failure. The same work is done again."""

    reason: str


@dataclass(frozen=True, slots=True)
class EntriesClaimed(Event):
    """Entries that are due again, or that others have left, are this worker's now."""

    entries: int
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

    server: str
    reason: str


@dataclass(frozen=True, slots=True)
class OutageEnded(Event):
    """Work goes on, after `seconds`."""

    server: str
    seconds: float


Observer = Callable[[Event], None]


def all_of(observers: Sequence[Observer]) -> Observer:
    """Return an observer that tells all of these, in order."""

    def observe(event: Event) -> None:
        for observer in observers:
            observer(event)

    return observe
