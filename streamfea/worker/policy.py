"""Decides what becomes of a record."""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from streamfea.core.entry import Entry
from streamfea.errors import Reject, Retry

_LONGEST_BACKOFF = timedelta(hours=1)


class Verdict(Enum):
    """The result of a record's run."""

    DONE = "done"
    """Its writes are committed: acknowledge it."""

    DUPLICATE = "duplicate"
    """The ledger says that its writes were committed before, so it was not run: acknowledge it."""

    FAILED = "failed"
    """It raised, or what it wrote could not be: try again later, up to `max_deliveries` times."""

    REJECTED = "rejected"
    """Its handler said that it can never succeed: to the dead letters at once."""

    POSTPONED = "postponed"
    """Its handler said not now: try again after the delay that it named."""


@dataclass(slots=True)
class Outcome:
    """An entry, its verdict, and the exception that led to it."""

    entry: Entry
    verdict: Verdict
    error: BaseException | None = None


def outcome_of(entry: Entry, error: BaseException) -> Outcome:
    """Return the outcome of a record that ended with `error`."""
    if isinstance(error, Reject):
        return Outcome(entry, Verdict.REJECTED, error)
    if isinstance(error, Retry):
        return Outcome(entry, Verdict.POSTPONED, error)
    return Outcome(entry, Verdict.FAILED, error)


def retry_delay(outcome: Outcome, backoff: timedelta) -> timedelta:
    """Return how long the record is to wait: as long as it asked for, else `backoff`, doubled with every delivery.

    No more than an hour, unless it asked for that.
    """
    if isinstance(outcome.error, Retry):
        return outcome.error.delay
    doublings = min(outcome.entry.deliveries - 1, 30)
    shortest = min(backoff, _LONGEST_BACKOFF)  # else the product may be more than a timedelta holds
    return min(shortest * 2.0**doublings, _LONGEST_BACKOFF)
