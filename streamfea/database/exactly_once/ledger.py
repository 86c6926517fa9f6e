"""Exactly once: a table of the entries that are done, written in the transaction of their effects.

A row for an entry is written by the transaction that holds its effects. So it is there if and only if they are,
whatever was delivered twice: because a worker died between COMMIT and XACK, because the answer to a COMMIT was lost,
because two workers had the same entry (the second waits for the first at the unique key), because a failover brought
entries back, or because the group was created again.

A row is of use for as long as its entry could come back: while it is in the stream, and for `MARGIN` after that, since
a replica that becomes the primary may lag behind.

A stream that began anew is another: its ids may have been given before (`streamfea.streams.consuming.marks`). All
streams that ever had one name are a family of sources: the upper bits of a source are the name's and the group's, the
lower ones the stream's mark. Before there were marks, they were the name's, too.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import psycopg
from sqlalchemy import BigInteger, Column, Connection, DateTime, MetaData, Table, text
from sqlalchemy.orm import Session

from streamfea.config.sections import Queue
from streamfea.core.entry import MARKS
from streamfea.core.group_ref import GroupRef
from streamfea.database.connection.driver import driver_of, has_begun
from streamfea.database.connection.group_digest import group_digest
from streamfea.database.exactly_once.entry_ids import from_bigints, to_bigints

__all__ = ["LEDGER_TABLES", "MARGIN", "Ledger", "ledger_of", "ledger_tables"]

MARGIN = timedelta(minutes=10)

_LAST_MARK = MARKS - 1
# Redis 5.0, October 2018: no server's clock has given an id before there were streams.
_FIRST_CLOCK_MS = 1_538_352_000_000
# Later than any entry: where the horizon of a stream lies that is gone.
_END = (1 << 63) - 1

_metadata = MetaData()
_entries = Table(
    "streamfea_ledger",
    _metadata,
    Column("source", BigInteger, primary_key=True),
    Column("ms", BigInteger, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
)
_horizons = Table(
    "streamfea_ledger_horizon",
    _metadata,
    Column("source", BigInteger, primary_key=True),
    Column("ms", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("noted_at", DateTime(timezone=True), nullable=False),
)
LEDGER_TABLES = (_entries, _horizons)

# As a rule, none is in already. Half as dear as to ask which are. In order, so that two workers with the same entries
# wait for each other instead of deadlocking; where rows with unique keys come before it they still may, and one of them
# does its batch again.
_ENTER_ALL = (
    "INSERT INTO streamfea_ledger SELECT %(source)s, ms, seq "
    "FROM unnest(CAST(%(ms)s AS bigint[]), CAST(%(seq)s AS bigint[])) AS given (ms, seq) ORDER BY ms, seq"
)
# What was in already comes back.
_ENTER_NEW = text(
    "WITH given AS (SELECT * FROM unnest(CAST(:ms AS bigint[]), CAST(:seq AS bigint[])) AS given (ms, seq)), "
    "entered AS (INSERT INTO streamfea_ledger SELECT :source, ms, seq FROM given ORDER BY ms, seq "
    "ON CONFLICT DO NOTHING RETURNING ms, seq) "
    "SELECT ms, seq FROM given EXCEPT SELECT ms, seq FROM entered"
)
_WITHDRAW = text(
    "DELETE FROM streamfea_ledger WHERE source = :source AND (ms, seq) IN "
    "(SELECT * FROM unnest(CAST(:ms AS bigint[]), CAST(:seq AS bigint[])))"
)
_PRUNE = text(
    "DELETE FROM streamfea_ledger WHERE ctid = ANY (ARRAY("
    "SELECT old.ctid FROM streamfea_ledger AS old JOIN streamfea_ledger_horizon AS horizon USING (source) "
    "WHERE old.source = :source AND horizon.noted_at <= now() - CAST(:margin AS interval) "
    "AND (old.ms, old.seq) < (horizon.ms, horizon.seq) AND old.ms >= 0 AND old.seq >= 0 "
    "ORDER BY old.ms, old.seq LIMIT :limit))"
)
_NOTE_HORIZON = text(
    "INSERT INTO streamfea_ledger_horizon AS horizon VALUES (:source, :ms, :seq, now()) "
    "ON CONFLICT (source) DO UPDATE SET ms = excluded.ms, seq = excluded.seq, noted_at = now() "
    "WHERE horizon.noted_at <= now() - CAST(:margin AS interval)"
)
# One look into the index for each: without a walk through all rows of a source.
_NEXT_SOURCE = text("SELECT min(source) FROM streamfea_ledger WHERE source > :after AND source <= :last")
_HAS_FROM = text("SELECT EXISTS (SELECT FROM streamfea_ledger WHERE source = :source AND (ms, seq) >= (:ms, :seq))")
_NOTE_END = text(
    "INSERT INTO streamfea_ledger_horizon AS horizon VALUES (:source, :end, :end, now()) "
    "ON CONFLICT (source) DO UPDATE SET ms = excluded.ms, seq = excluded.seq, noted_at = now() "
    "WHERE horizon.ms <> excluded.ms"
)
_NOTE_RETURN = text(
    "UPDATE streamfea_ledger_horizon SET ms = 0, seq = 0, noted_at = now() WHERE source = :source AND ms = :end"
)
_PRUNE_ENDED = text(
    "DELETE FROM streamfea_ledger WHERE ctid = ANY (ARRAY("
    "SELECT old.ctid FROM streamfea_ledger AS old JOIN streamfea_ledger_horizon AS horizon USING (source) "
    "WHERE old.source = :source AND horizon.ms = :end AND horizon.noted_at <= now() - CAST(:margin AS interval) "
    "LIMIT :limit))"
)


def ledger_tables(queues: Iterable[Queue]) -> list[Table]:
    """Return the tables that `queues` need beside their handlers'."""
    return list(LEDGER_TABLES) if any(queue.guarantee == "exactly-once" for queue in queues) else []


def ledger_of(queue: Queue) -> "Ledger | None":
    """Return the ledger of a queue that asks for exactly-once."""
    return Ledger(queue.ref) if queue.guarantee == "exactly-once" else None


class Ledger:
    """The entries of one stream that one group has done. `follow()` chooses among streams of one name."""

    def __init__(self, ref: GroupRef) -> None:
        self._unmarked = int.from_bytes(group_digest(ref), signed=True)
        self._family = self._unmarked & ~_LAST_MARK
        self._source = self._unmarked

    def follow(self, mark: int) -> None:
        """Mean the stream with this mark from now on."""
        self._source = self._family | mark

    def mark_of(self, connection: Connection, oldest_id: str) -> int | None:
        """Return the mark of the stream whose oldest entry this is, though it has none; None for a new one.

        It is known if there are rows of that entry, or later ones, unless no server's clock has given the id: then they
        may be of others with the same ids. A version that knows no marks may be at work at the same time, so the
        stream goes on without one if that takes nothing for old.
        """
        ms, seq = to_bigints(oldest_id)

        def has_rows(source: int) -> bool:
            return bool(connection.execute(_HAS_FROM, {"source": source, "ms": ms, "seq": seq}).scalar_one())

        if ms >= _FIRST_CLOCK_MS:
            for source in self._sources(connection):
                if has_rows(source):
                    return source & _LAST_MARK
        return None if has_rows(self._unmarked) else self._unmarked & _LAST_MARK

    def enter(self, session: Session, entry_ids: Sequence[str]) -> set[str]:
        """Note entries as done, in the session's transaction; return the ids of those that are in already.

        Waits for another transaction that is about to note the same entries.
        """
        connection = session.connection()
        if not has_begun(connection):
            try:
                self.enter_all(driver_of(connection), entry_ids)
            except (psycopg.DataError, psycopg.IntegrityError):
                driver_of(connection).rollback()
            else:
                return set()
        known = connection.execute(_ENTER_NEW, self._arguments(entry_ids))
        return {from_bigints(ms, seq) for ms, seq in known}

    def enter_all(self, driver: "psycopg.Connection[Any]", entry_ids: Sequence[str]) -> None:
        """Note entries as done that are not in yet, in the driver's transaction.

        Raises psycopg's `IntegrityError` if one is, `DataError` if a number of its id turns negative.
        """
        driver.execute(_ENTER_ALL, self._unsigned(entry_ids))

    def withdraw(self, session: Session, entry_ids: Sequence[str]) -> None:
        """Take entries that this transaction noted out again: their effects are not in it."""
        if entry_ids:
            session.connection().execute(_WITHDRAW, self._arguments(entry_ids))

    def prune(self, connection: Connection, first_id: str, margin: timedelta = MARGIN, limit: int = 50_000) -> int:
        """Remove up to `limit` rows of entries that have been gone from the stream for `margin`; return how many.

        `first_id` is the oldest id that the stream holds, or would give to the next entry. It counts `margin` later.
        Ids whose numbers turn negative are never pruned; of streams that this one took the place of, all are.
        """
        arguments = {"source": self._source, "margin": margin}
        connection.execute(_NOTE_RETURN, {"source": self._source, "end": _END})
        pruned = int(connection.execute(_PRUNE, {**arguments, "limit": limit}).rowcount)
        ms, seq = to_bigints(first_id)
        if pruned < limit and ms >= 0 and seq >= 0:
            connection.execute(_NOTE_HORIZON, {**arguments, "ms": ms, "seq": seq})
        return pruned + self._prune_predecessor(connection, margin, limit - pruned)

    def _prune_predecessor(self, connection: Connection, margin: timedelta, limit: int) -> int:
        """Remove rows of a stream that this one has had the place of for `margin`."""
        source = next((other for other in self._sources(connection) if other != self._source), None)
        if source is None or limit <= 0:
            return 0
        connection.execute(_NOTE_END, {"source": source, "end": _END})
        arguments = {"source": source, "end": _END, "margin": margin, "limit": limit}
        return int(connection.execute(_PRUNE_ENDED, arguments).rowcount)

    def _sources(self, connection: Connection) -> Iterator[int]:
        """Yield the streams of this name that have rows."""
        source: int | None = self._family - 1
        last = self._family | _LAST_MARK
        while (source := connection.execute(_NEXT_SOURCE, {"after": source, "last": last}).scalar_one()) is not None:
            yield source

    def forget(self, connection: Connection) -> int:
        """Remove everything that was noted, so that all entries count as new; return how many there were."""
        family = self._family, self._family | _LAST_MARK
        deleted = [
            connection.execute(table.delete().where(table.c.source.between(*family))).rowcount
            for table in (_horizons, _entries)
        ]
        return deleted[-1]

    def _arguments(self, entry_ids: Iterable[str]) -> dict[str, object]:
        numbers = [str(number) for entry_id in entry_ids for number in to_bigints(entry_id)]
        return self._with_numbers(numbers)

    def _unsigned(self, entry_ids: Iterable[str]) -> dict[str, object]:
        """Return the arguments without a look at the numbers; PostgreSQL refuses those that are too large."""
        return self._with_numbers("-".join(entry_ids).split("-"))

    def _with_numbers(self, numbers: Sequence[str]) -> dict[str, object]:
        # As text, which takes psycopg a tenth of the time of a list of numbers.
        return {
            "source": self._source,
            "ms": f"{{{','.join(numbers[0::2])}}}",
            "seq": f"{{{','.join(numbers[1::2])}}}",
        }
