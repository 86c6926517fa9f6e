"""What an error of PostgreSQL means: whose fault it is, and whether waiting helps."""

from collections.abc import Iterator
from enum import Enum

import psycopg
from sqlalchemy.exc import DBAPIError, OperationalError

__all__ = [
    "Fault",
    "chain_of",
    "could_not_connect",
    "is_refusal",
    "may_be_either",
    "reason_of",
    "remedy_of",
    "whose_fault",
]

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

_TLS_REFUSALS = ("certificate", "does not support SSL")
# What PostgreSQL, or libpq, says while connecting when waiting will not help; before a session exists there is no
# SQLSTATE to go by.
_REFUSALS = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "not permitted to log in",
    "invalid sslmode value",
    "invalid port number",
    "for connection option",
    "unsupported startup parameter",  # PgBouncer, of which also the next
    "no such database",
    "no such user",
    *_TLS_REFUSALS,
)


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


def whose_fault(error: BaseException) -> Fault:
    """Tell whose fault `error` is, looking through what a handler wrapped around the database's own exception."""
    for link in chain_of(error):
        fault = _fault_of(link)
        if fault is not Fault.RECORD:
            return fault
    return Fault.RECORD


def could_not_connect(error: BaseException) -> bool:
    """Tell whether there is no connection, be it that PostgreSQL lets us have none: libpq gives no SQLSTATE then."""
    return any(isinstance(link, psycopg.OperationalError) and link.sqlstate is None for link in chain_of(error))


def may_be_either(error: BaseException) -> bool:
    """Tell whether a record can bring this about by itself, and PostgreSQL's state or its administrator as well.

    Only a run alone, with the server in good health, tells which it was.
    """
    return any(_is_ambiguous(link) for link in chain_of(error))


def is_refusal(error: BaseException) -> bool:
    """Tell whether PostgreSQL refuses us, or is not what we were told, so that waiting does not help."""
    return isinstance(error, OperationalError) and any(words in str(error.orig) for words in _REFUSALS)


def reason_of(error: OperationalError) -> str:
    """Return the first line of a refusal."""
    return str(error.orig).strip().splitlines()[0]


def remedy_of(error: OperationalError) -> str:
    """Return what an operator can do about a refusal."""
    if any(words in str(error.orig) for words in _TLS_REFUSALS):
        return "check database.url, and sslmode and sslrootcert in database.connect_args"
    if "unsupported startup parameter" in str(error.orig):
        return "PgBouncer takes none: remove it from database.url, or set ignore_startup_parameters in PgBouncer"
    return "check database.url and its password"


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and its causes, the first cause last."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__ or getattr(error, "orig", None)


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
