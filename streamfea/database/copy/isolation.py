"""Writes the rows of many records, and finds the bad ones in few round trips.

COPY says at which line it stopped. What can be wrong with that row alone, a NULL or a CHECK, convicts its record at
once; of anything else it is suspected, and tried on its own when everything before it is written.
"""

from collections import Counter
from collections.abc import Callable

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from streamfea.database.connection.driver import driver_of, has_begun
from streamfea.database.copy.culprits import certain_culprits, culprit
from streamfea.database.copy.plans import Row
from streamfea.database.copy.writer import Copying, check_deferred, copy_rows

__all__ = ["CopyIsolation"]

_SAVEPOINT = "streamfea"
# Up to this many rows are sent again with the rows after them. Writing them first would take three round trips.
_SENT_AGAIN = 64


class CopyIsolation:
    """Writes rows in the transaction of `connection`; `failed` has the records whose rows were refused, with the error.

    Blames exactly the records that a flush after all earlier rows would blame; `flush` does such a flush of a record's
    rows. Errors that belong to no single record are raised, and so are those of records in `impure`: these did more
    than add rows, so leaving out their rows would not undo them. `started` is the COPY of all rows, if it has begun: as
    the first statement of the transaction, and with no row that lacks a value.
    """

    def __init__(
        self,
        connection: Connection,
        impure: set[str],
        flush: Callable[[list[Row]], None],
        started: Copying | None = None,
    ) -> None:
        self.failed: dict[str, Exception] = {}
        self._connection = connection
        self._driver = driver_of(connection)
        self._impure = impure
        self._flush = flush
        self._started = started
        self._has_savepoint = False
        self._is_behind = False

    def write(self, rows: list[Row]) -> None:
        """Write all rows but those of records that fail."""
        self._write(self._without_lacking(rows) if any(row.lacks for row in rows) else rows)

    def _write(self, rows: list[Row]) -> None:
        reach = len(rows)
        while rows:
            tried = _first_entries(rows, reach)
            error = self._write_all(tried)
            if error is None:
                rows = rows[len(tried) :]
                reach *= 2
                continue
            certain = certain_culprits(error, tried)
            suspect = certain[0] if certain else culprit(error, tried) or tried[len(tried) // 2].entry_id
            if not self._impure.isdisjoint([suspect, *certain]):
                raise error
            first = next(index for index, row in enumerate(tried) if row.entry_id == suspect)
            before, after = rows[:first], rows[first:]
            if certain:
                self.failed.update(dict.fromkeys(certain, _without_traceback(error)))
                after = [row for row in after if row.entry_id not in self.failed]
                if first <= _SENT_AGAIN:
                    before, after = [], before + after
                self._write(before)
            else:
                own = [row for row in tried if row.entry_id == suspect]
                self._write(before)
                self._write_one(suspect, own)
                after = after[len(own) :]
            rows = after
            # The next culprit is probably as near, and rows behind it would be sent in vain.
            reach = first + _SENT_AGAIN

    def _without_lacking(self, rows: list[Row]) -> list[Row]:
        """Convict records whose one row lacks a value that it must have; return the rows of the others."""
        count = Counter(row.entry_id for row in rows)
        return [row for row in rows if not (row.lacks and count[row.entry_id] == 1 and self._is_convicted(row))]

    def _is_convicted(self, row: Row) -> bool:
        if row.entry_id in self._impure:
            return False
        self._set_savepoint()
        try:
            copy_rows(self._connection, [row])
        except (DataError, IntegrityError) as error:
            if certain_culprits(error, [row]):
                self.failed[row.entry_id] = _without_traceback(error)
        self._go_back()  # in any case: its turn comes with the others'
        return row.entry_id in self.failed

    def _write_one(self, entry_id: str, rows: list[Row]) -> None:
        error = self._write_all(rows)
        if isinstance(error, DataError) or (error is not None and len(rows) > 1):
            # COPY may read strictly what INSERT would take, and looks at several rows in another order than a flush.
            error = self._flush_one(rows)
        if error is None:
            return
        if entry_id in self._impure:
            raise error
        self.failed[entry_id] = _without_traceback(error)

    def _write_all(self, rows: list[Row]) -> DBAPIError | None:
        """Write rows; return why they cannot be, all of them."""
        started, self._started = self._started, None
        if started is not None:
            return self._attempt(started.finish, rows)
        if has_begun(self._connection):
            self._set_savepoint()
        return self._attempt(lambda: copy_rows(self._connection, rows), rows)

    def _flush_one(self, rows: list[Row]) -> DBAPIError | None:
        if has_begun(self._connection):
            self._set_savepoint()
        return self._attempt(lambda: self._flush(rows), rows)

    def _attempt(self, write: Callable[[], object], rows: list[Row]) -> DBAPIError | None:
        """Call `write`, and check the deferred constraints of `rows`; undo a failure and return its error."""
        try:
            write()
            check_deferred(self._connection, rows)  # all else in the transaction has been checked already
        except (DataError, IntegrityError) as error:
            self._go_back()
            return error
        self._is_behind = True
        return None

    def _set_savepoint(self) -> None:
        """Have a savepoint after all that is written."""
        if not self._has_savepoint:
            self._driver.execute(f"SAVEPOINT {_SAVEPOINT}")
        elif self._is_behind:
            self._driver.execute(f"RELEASE SAVEPOINT {_SAVEPOINT}; SAVEPOINT {_SAVEPOINT}")
        self._has_savepoint, self._is_behind = True, False

    def _go_back(self) -> None:
        if self._has_savepoint:
            self._driver.execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        else:  # nothing else is in the transaction
            self._driver.rollback()
            self._set_savepoint()


def _first_entries(rows: list[Row], count: int) -> list[Row]:
    """Return the first `count` rows, and those that the last one's entry has after it."""
    while count < len(rows) and rows[count].entry_id == rows[count - 1].entry_id:
        count += 1
    return rows[:count]


def _without_traceback(error: DBAPIError) -> DBAPIError:
    """Return an error without the places where it was raised: none of them is the handler's."""
    if error.orig is not None:
        error.orig.with_traceback(None)
    return error.with_traceback(None)
