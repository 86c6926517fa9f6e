"""Decides whose fault an exception is, and what happens to the record."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

import psycopg
from sqlalchemy.exc import DBAPIError

from streamfea.core.entry import Entry
from streamfea.errors import Reject, Retry

_LONGEST_BACKOFF = timedelta(hours=1)


class Fault(Enum):
    """Whose fault an exception is."""

    RECORD = "record"
    """The record's own, or its handler's: it fails, and only it."""

    CONFLICT = "conflict"
    """Nobody's: a deadlock or a serialization failure. The same work is done again, in smaller batches."""

    OUTAGE = "outage"
    """PostgreSQL's: it is away, starting, read-only, out of room, or somebody holds a lock for too long.

    The same work waits until that is over. `may_be_either()` tells of which errors that is not certain.
    """


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


def could_not_connect(error: BaseException) -> bool:
    """Tell whether there is no connection, be it that PostgreSQL lets us have none: libpq gives no SQLSTATE then."""
    return any(isinstance(link, psycopg.OperationalError) and link.sqlstate is None for link in chain_of(error))


def may_be_either(error: BaseException) -> bool:
    """Tell whether a record can bring this about by itself, and PostgreSQL's state or its administrator as well.

    Only a run alone, with the server in good health, tells which it was.
    """
    return any(_is_ambiguous(link) for link in chain_of(error))


def whose_fault(error: BaseException) -> Fault:
    """Tell whose fault `error` is, looking through what a handler wrapped around the database's own exception."""
    for link in chain_of(error):
        fault = _fault_of(link)
        if fault is not Fault.RECORD:
            return fault
    return Fault.RECORD


# SQLSTATE classes and codes, PostgreSQL manual, appendix A.
_OUTAGE_CLASSES = {
    "08",  # connection exception
    "28",  # invalid authorization: a password being rotated
    "3D",  # the database does not exist, yet or any more
    "53",  # insufficient resources: disk full, too many connections
    "58",  # system error
}
_OUTAGE_CODES = {
    "25006",  # read-only: a standby, or a failover under way
    "57P01",  # administrator's shutdown
    "57P02",  # crash
    "57P03",  # still starting
    "57P04",  # database dropped
}
_AMBIGUOUS_CODES = {
    "25006",  # read-only: the server, or SET TRANSACTION READ ONLY
    "25P03",  # idle_in_transaction_session_timeout
    "25P04",  # transaction_timeout
    "3F000",  # no such schema: dropped, or never there
    "42501",  # not allowed: a GRANT revoked, or never given
    "42P01",  # no such table: dropped, or never there
    "53200",  # out of memory
    "53400",  # configuration limit exceeded: temp_file_limit
    "57014",  # statement_timeout: slow, or behind somebody's lock
    "57P01",  # shutdown, or pg_terminate_backend
    "57P05",  # idle_session_timeout
    "58P01",  # no such file, on the server
    "58P02",  # such a file is there already
}
_CONFLICT_CODES = {
    "40001",  # serialization failure
    "40P01",  # deadlock
}


def _is_ambiguous(error: BaseException) -> bool:
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, psycopg.Error):
        return False
    if cause.sqlstate is None:
        return isinstance(cause, psycopg.OperationalError) or _is_invalidated(error)
    return cause.sqlstate in _AMBIGUOUS_CODES


def _fault_of(error: BaseException) -> Fault:
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, psycopg.Error):
        return Fault.RECORD
    if cause.sqlstate in _CONFLICT_CODES:
        return Fault.CONFLICT
    if _waited_too_long(cause):
        return Fault.OUTAGE
    if cause.sqlstate is None:
        lost = isinstance(cause, psycopg.OperationalError)
    else:
        lost = cause.sqlstate in _OUTAGE_CODES or cause.sqlstate[:2] in _OUTAGE_CLASSES
    return Fault.OUTAGE if lost or _is_invalidated(error) else Fault.RECORD


def _is_invalidated(error: BaseException) -> bool:
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _waited_too_long(error: psycopg.Error) -> bool:
    """Tell whether `lock_timeout` ended a wait for somebody's lock, and not a NOWAIT that the handler asked for.

    The same SQLSTATE; the function that reports it is the difference that does not depend on the server's language.
    """
    return error.sqlstate == "55P03" and error.diag.source_function == "ProcessInterrupts"


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and what led to it, the first cause last."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__ or getattr(error, "orig", None)
