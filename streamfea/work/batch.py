"""One transaction for a whole batch, and yet every record on its own: optimistic group commit.

All records of a batch run in one transaction, without savepoints. When something goes wrong, it is found out who it
was, exactly, and only then is it paid for. The rule that keeps this exact: *a record is convicted only by what it
does when nobody else's unwritten work is in the session*. Autoflush and commit write what earlier records have
added, so an IntegrityError raised inside one record may be another's. And the order of the records is kept, whatever
is run again: what came before a culprit is committed before it, what comes after it sees what it would have seen.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import structlog

from streamfea.database.ledger import Ledger
from streamfea.database.session import DbSession
from streamfea.entry import Entry
from streamfea.work.parts import Attempt, Mode, Part
from streamfea.work.patience import Patience
from streamfea.work.policy import Outcome
from streamfea.work.runner import Process, Runner, Watch, WholeBatch, WorldFaultError
from streamfea.work.stopping import StopSignal

__all__ = ["GroupCommit"]

log = structlog.get_logger(__name__)

# A handler that so many records in a row want a transaction of their own for gets one each from then on.
_OWN_TRANSACTIONS_IN_A_ROW = 3


class GroupCommit:
    """Runs the records of entries through a handler and commits them together.

    `sessions` makes the sessions, `process` is given one and an entry; `whole_batch`, if there is one, is given all
    entries first. A transaction holds at most `batch_size` records and takes no new one after
    `commit_interval_seconds`. With a `ledger`, no entry is done twice. `ours` returns those of some entries that others
    have not taken over meanwhile: only these are run again when PostgreSQL was away.
    """

    def __init__(
        self,
        sessions: Callable[[], DbSession],
        process: Process,
        whole_batch: WholeBatch | None = None,
        *,
        batch_size: int,
        commit_interval_seconds: float,
        stop: StopSignal,
        watch: Watch | None = None,
        ledger: Ledger | None = None,
        ours: Callable[[Sequence[Entry]], Sequence[Entry]] = lambda entries: entries,
    ) -> None:
        self._sessions = sessions
        self._first_mode = Mode.TOGETHER if whole_batch is None else Mode.WHOLE
        self._batch_size = batch_size
        self._limit = batch_size
        self._stop = stop
        self._runner = Runner(
            process,
            whole_batch,
            commit_interval_seconds=commit_interval_seconds,
            stop=stop,
            watch=watch or Watch(),
            ledger=ledger,
        )
        self._patience = Patience("PostgreSQL", lambda error: isinstance(error, WorldFaultError) and error.outage, stop)
        self._ours = ours
        self._wanted_own = 0

    def run(self, entries: Sequence[Entry], *, alone: bool = False) -> Iterator[list[Outcome]]:
        """Yield the outcomes of each transaction as soon as it is committed, in the entries' order.

        Ends early, between transactions, when the worker is to stop: entries without an outcome were not started,
        undone, or are not ours any more. Raises `Interrupted` when that happens while PostgreSQL is away. Entries that
        run `alone` do not wait for it: `WorldFaultError` is raised.
        """
        parts = deque(_each_alone(entries) if alone else [Part(entries, self._first_mode)])
        while parts and not self._stop.is_set():
            part = parts.popleft()
            if not part.entries:
                continue
            if part.mode is Mode.TOGETHER and self._wanted_own >= _OWN_TRANSACTIONS_IN_A_ROW:
                parts.extendleft(reversed(_each_alone(part.entries)))
                continue
            attempt = self._attempt(part) if alone else self._attempt_until_done(part)
            parts.extendleft(reversed(attempt.remaining))
            if attempt.outcomes:
                yield attempt.outcomes

    def _attempt_until_done(self, part: Part) -> Attempt:
        """Run a part, again and again while PostgreSQL is away."""
        outages = self._patience.outages

        def attempt() -> Attempt:
            if self._patience.outages == outages:
                return self._attempt(part)
            entries = self._ours(part.entries)
            return self._attempt(replace(part, entries=entries)) if entries else Attempt()

        return self._patience.call(attempt)

    def _attempt(self, part: Part) -> Attempt:
        session = self._sessions()
        try:
            attempt = self._runner.run(session, part, self._limit)
            self._note_wishes(session, part)
        except WorldFaultError as fault:
            if fault.outage:
                raise
            self._limit = max(1, min(self._limit, len(part.entries)) // 2)
            log.info("doing a batch again", reason=str(fault.__cause__).splitlines()[0])
            self._stop.wait(0.01)
            return Attempt(remaining=[part])
        finally:
            session.discard()
        self._limit = min(self._batch_size, self._limit + self._limit // 8 + 1)
        return attempt

    def _note_wishes(self, session: DbSession, part: Part) -> None:
        """Count how many records in a row had to be taken out of their batch for a transaction of their own."""
        if part.mode is Mode.TOGETHER and not session.kept_records:
            self._wanted_own = self._wanted_own + 1 if session.wants_own_transaction else 0
        elif part.mode is Mode.TOGETHER:
            self._wanted_own = 1 if session.wants_own_transaction else 0


def _each_alone(entries: Sequence[Entry]) -> list[Part]:
    return [Part([entry], Mode.ALONE) for entry in entries]
