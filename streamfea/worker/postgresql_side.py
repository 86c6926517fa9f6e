"""What the loop asks of PostgreSQL beside running records: each call waits while the server is away."""

from collections.abc import Collection
from contextlib import suppress
from functools import partial

from sqlalchemy.exc import DBAPIError

from streamfea.core.group_ref import GroupRef
from streamfea.database.connection.fencing import end_transactions
from streamfea.database.exactly_once.ledger import Ledger
from streamfea.database.session.session import Sessions
from streamfea.observe.events import Observer, TransactionsEnded
from streamfea.worker.outage import OutageRetry

__all__ = ["PostgreSQLSide"]


class PostgreSQLSide:
    """A worker's sessions, and its ledger with exactly-once.

    Each method may raise `Interrupted`, when the worker is to stop while the server is away.
    """

    def __init__(
        self, sessions: Sessions, ref: GroupRef, ledger: Ledger | None, retry: OutageRetry, observe: Observer
    ) -> None:
        self.sessions = sessions
        self.ledger = ledger
        self.retry = retry
        self._ref = ref
        self._observe = observe

    def end_transactions(self, consumers: Collection[str]) -> None:
        """Leave nothing in the way that consumers have begun whose entries are ours now: they are taken for dead."""
        if not consumers:
            return
        if self.retry.call(partial(end_transactions, self.sessions, self._ref, consumers)):
            self._observe(TransactionsEnded(self._ref.queue, sorted(consumers)))

    def end_transactions_at_once(self, consumer: str) -> None:
        """End what dead connections of `consumer` have begun, if the server answers: it may not know of their death."""
        with suppress(DBAPIError):  # whoever needs it next meets that, too
            end_transactions(self.sessions, self._ref, {consumer})

    def is_done(self, entry_id: str) -> bool:
        """Tell whether exactly-once has noted an entry as done; waits for a transaction that is about to."""
        ledger = self.ledger
        return ledger is not None and self.retry.call(partial(self._is_in, ledger, entry_id))

    def _is_in(self, ledger: Ledger, entry_id: str) -> bool:
        with self.sessions() as session:
            return bool(ledger.enter(session, [entry_id]))  # and rolled back at the end
