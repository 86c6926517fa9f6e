"""Cuts a batch into transactions, and holds their results."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum

from streamfea.core.entry import Entry
from streamfea.worker.policy import Outcome

__all__ = ["Mode", "Prepared", "Slice", "SliceResult", "Spent", "each_alone", "split_at"]


class Mode(Enum):
    """How the entries of a slice run in its transaction."""

    WHOLE = "whole"
    """All at once, through the handler's `process_batch()`."""

    TOGETHER = "together"
    """One after the other, through `process()`."""

    ALONE = "alone"
    """The one entry has the transaction to itself."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Entries to run in one transaction.

    With `ledger_first`, exactly-once asks the ledger before the records run, instead of at the end. With `is_judged`, a
    wait for somebody's lock ends before `statement_timeout` would end it, so that the two can be told apart.
    """

    entries: Sequence[Entry]
    mode: Mode = Mode.TOGETHER
    ledger_first: bool = False
    is_judged: bool = False


@dataclass(frozen=True, slots=True)
class Spent:
    """The seconds that a transaction took: in the handler, for writing its rows, and for the rest up to its commit."""

    running: float = 0.0
    writing: float = 0.0
    committing: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        """Return the seconds of both."""
        return Spent(self.running + other.running, self.writing + other.writing, self.committing + other.committing)


@dataclass(slots=True)
class SliceResult:
    """The result of running a slice: final outcomes, the slices to run next, in order, and the time that it took."""

    outcomes: list[Outcome] = field(default_factory=list)
    remaining: list[Slice] = field(default_factory=list)
    spent: Spent = Spent()

    def __add__(self, later: "SliceResult") -> "SliceResult":
        """Return both, the `later` one's after this one's."""
        return SliceResult(self.outcomes + later.outcomes, self.remaining + later.remaining, self.spent + later.spent)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A slice whose records have all run; nothing has been sent to PostgreSQL.

    `commit()` writes and commits, and may be called later and on another thread. It raises what running a slice raises.
    `rest` has the entries that have not run. `start()` begins the COPY; it is called before `commit()`, or not at all.
    """

    slice: Slice
    rest: Slice
    start: Callable[[], None]
    commit: Callable[[], SliceResult]


def each_alone(entries: Sequence[Entry]) -> list[Slice]:
    """Return slices in which each entry has a transaction to itself."""
    return [Slice([entry], Mode.ALONE) for entry in entries]


def split_at(entries: Sequence[Entry], ids: Collection[str]) -> list[Slice]:
    """Return slices in the entries' order in which those named by `ids` are alone and the others together."""
    slices: list[Slice] = []
    company: list[Entry] = []
    for entry in entries:
        if entry.id in ids:
            slices += [Slice(company), Slice([entry], Mode.ALONE)]
            company = []
        else:
            company.append(entry)
    return [*slices, Slice(company)]
