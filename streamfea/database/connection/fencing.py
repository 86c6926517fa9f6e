"""Ends the transactions of workers that count as dead, so that their successors need not wait for locks.

A worker that is stopped, or cut off from Redis, loses its entries to others, but may have a transaction open: with
exactly-once, their rows in the ledger wait for its end, which may never come.
"""

from collections.abc import Callable, Iterable

from sqlalchemy import text
from sqlalchemy.orm import Session

from streamfea.core.group_ref import GroupRef
from streamfea.database.connection.group_digest import group_digest

__all__ = ["end_transactions", "session_name"]

# PostgreSQL cuts a session's application_name to 63 bytes (NAMEDATALEN); the end of a consumer's name is its own.
_LONGEST_NAME = 63
_PREFIX = "streamfea "

# One's own sessions may be ended without a grant (PostgreSQL manual, "Server Signaling Functions").
_END = text(
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = ANY(:names) "
    "AND datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
)


def session_name(ref: GroupRef, consumer: str) -> str:
    """Return the name of the sessions of `consumer` in `pg_stat_activity`.

    A digest of the stream and the group is part of it: in another group the same name is another's.
    """
    prefix = f"{_PREFIX}{group_digest(ref).hex()} "
    plain = consumer.encode("ascii", "replace").decode()
    return prefix + plain[-(_LONGEST_NAME - len(prefix)) :]


def end_transactions(sessions: Callable[[], Session], ref: GroupRef, consumers: Iterable[str]) -> int:
    """End the sessions of `consumers` of a group, and with them their transactions; return how many there were.

    A worker whose session was ended starts its transaction anew, as after any lost connection.
    """
    with sessions() as session:
        names = [session_name(ref, consumer) for consumer in consumers]
        return int(session.execute(_END, {"names": names}).scalar_one())
