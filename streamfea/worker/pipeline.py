"""Optimistic group commit: one transaction for a batch, in which every record is isolated.

All records of a batch run in one transaction, without savepoints. When something goes wrong, it is found out who it
was, exactly, and only then is it paid for. The rule that keeps this exact: *a record is convicted only by what it
does when nobody else's unwritten work is in the session*. Autoflush and commit write what earlier records have
added, so an IntegrityError raised inside one record may be another's. And the order of the records is kept, whatever
is run again: what came before a culprit is committed before it, what comes after it sees what it would have seen.

While PostgreSQL commits one transaction, the next records run. One that asks for the database waits for that commit;
if it fails, what has run since runs again, after what failed.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import chain, repeat
from typing import NamedTuple, TypeVar

import structlog
from sqlalchemy.exc import DBAPIError

from streamfea.core.entry import Entry
from streamfea.database.connection.health import Health
from streamfea.database.exactly_once.ledger import Ledger
from streamfea.database.session.own import OwnTransaction
from streamfea.database.session.session import Sessions
from streamfea.database.session.shared import SharedTransaction
from streamfea.errors import ConfigurationError
from streamfea.observe.events import BatchRepeated, Observer
from streamfea.observe.log_observer import LogObserver
from streamfea.worker.monitor import RunMonitor
from streamfea.worker.outage import OutageRetry
from streamfea.worker.policy import Outcome, outcome_of
from streamfea.worker.process_guard import refuse_in_child
from streamfea.worker.slices import Mode, Prepared, Slice, SliceResult, Spent, each_alone
from streamfea.worker.stop_signal import StopSignal
from streamfea.worker.transaction import RunEntry, Runner, WholeBatch, WorldFaultError, is_away

__all__ = ["GroupCommit"]

T = TypeVar("T")

Settle = Callable[[list[Outcome], Spent], object]

log = structlog.get_logger(__name__)

# A handler that so many records in a row want a transaction of their own for gets one each from then on.
_OWN_TRANSACTIONS_IN_A_ROW = 3


class _InFlight(NamedTuple):
    """A transaction that commits while the next records run."""

    slice: Slice
    future: Future[SliceResult]


class GroupCommit:
    """Runs the records of entries through a handler and commits them together.

    `sessions` makes the sessions, `run_entry` is given one and an entry; `whole_batch`, if there is one, is given all
    entries first. A transaction holds at most `batch_size` records and takes no new one after
    `commit_interval_seconds`. With a `ledger`, no entry is done twice. `ours` returns those of some entries that others
    have not taken over meanwhile: only these are run again when PostgreSQL was away.

    `outage_retry` is how it waits for PostgreSQL. With `overlap`, `submit()` may return while its last transaction
    still commits: its outcomes come with those of the next `submit()`, or of `finish()`.
    """

    def __init__(
        self,
        sessions: Sessions,
        run_entry: RunEntry,
        whole_batch: WholeBatch | None = None,
        *,
        batch_size: int,
        commit_interval_seconds: float,
        stop: StopSignal,
        monitor: RunMonitor | None = None,
        ledger: Ledger | None = None,
        ours: Callable[[Sequence[Entry]], Sequence[Entry]] = lambda entries: entries,
        overlap: bool = False,
        outage_retry: OutageRetry | None = None,
        queue: str = "",
        observe: Observer | None = None,
    ) -> None:
        self._queue = queue
        self._observe = observe or LogObserver()
        self._first_mode = Mode.TOGETHER if whole_batch is None else Mode.WHOLE
        self._batch_size = batch_size
        self._limit = batch_size
        self._stop = stop
        self._runner = Runner(
            sessions,
            run_entry,
            whole_batch,
            commit_interval_seconds=commit_interval_seconds,
            stop=stop,
            monitor=monitor or RunMonitor(),
            ledger=ledger,
        )
        self._outage_retry = outage_retry or OutageRetry("PostgreSQL", is_away, stop)
        self._ours = ours
        self._health = Health(sessions)
        self._suspect: tuple[str, BaseException | None] | None = None
        self._wanted_own = 0
        self._thread = ThreadPoolExecutor(1, "commit") if overlap else None
        self._prepared: Prepared | None = None
        self._in_flight: _InFlight | None = None

    def look_around(self) -> None:
        """Note what we may do with which tables, so that it is noticed when that is taken away.

        Raises SQLAlchemy's errors when PostgreSQL is away.
        """
        self._health.note()

    def submit(self, entries: Sequence[Entry], settle: Settle, *, alone: bool = False) -> None:
        """Run entries; call `settle` with the outcomes of each transaction, in their order, as soon as it is committed.

        Ends early, between transactions, when the worker is to stop: entries without an outcome were not started,
        undone, or are not ours any more. Raises `Interrupted` when that happens while PostgreSQL is away. Entries that
        run `alone` do not wait for it: `WorldFaultError` is raised.
        """
        if alone:
            self.finish(settle)
        self._run(each_alone(entries) if alone else [Slice(entries, self._first_mode)], settle, alone=alone)

    def finish(self, settle: Settle) -> None:
        """Wait for what still commits, and run again what has to for it; `settle` gets the outcomes."""
        while self._in_flight is not None:
            landed = self._land()
            if landed.outcomes:
                settle(landed.outcomes, landed.spent)
            self._run(landed.remaining, settle)

    @property
    def is_committing(self) -> bool:
        """Whether `finish()` has anything to do."""
        return self._in_flight is not None

    def _run(self, first: Sequence[Slice], settle: Settle, *, alone: bool = False) -> None:
        slices = deque(first)
        self._prepared = None  # of a run that an exception ended: nobody was told of it
        while slices and not self._stop.is_set():
            slice_ = slices.popleft()
            if not slice_.entries:
                continue
            if slice_.mode is Mode.TOGETHER and self._wanted_own >= _OWN_TRANSACTIONS_IN_A_ROW:
                slices.extendleft(reversed(each_alone(slice_.entries)))
                continue
            result = self._run_slice(slice_, alone=alone)
            slices.extendleft(reversed(result.remaining))
            if result.outcomes:
                settle(result.outcomes, result.spent)
            self._launch()

    def _run_slice(self, slice_: Slice, *, alone: bool) -> SliceResult:
        """Run a slice, or what has to come before it."""
        if slice_.mode is Mode.TOGETHER and self._thread is not None:
            return self._run_ahead(slice_)
        if self._in_flight is not None:
            landed = self._land()
            return SliceResult(landed.outcomes, [*landed.remaining, slice_], landed.spent)
        run_slice = self._attempt_alone if slice_.mode is Mode.ALONE else self._attempt_now
        return run_slice(slice_) if alone else self._until_done(slice_, partial(run_slice, slice_))

    def _launch(self) -> None:
        """Begin to commit what has run; last of all, since PostgreSQL may keep us waiting while a table is locked."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None and self._thread is not None:
            prepared.start()
            self._in_flight = _InFlight(prepared.slice, self._thread.submit(prepared.commit))

    def _run_ahead(self, slice_: Slice) -> SliceResult:
        """Run a slice while the one before it commits; return what became of both, but for what commits from now on."""
        ahead = self._attempt_ahead(slice_)
        outages = self._outage_retry.outages
        landed = self._land()
        if self._outage_retry.outages != outages:
            slice_ = replace(slice_, entries=self._ours(slice_.entries))
        if isinstance(ahead, SliceResult):
            # Had the one before failed, nothing would be committed here: what asks for the database waits for it.
            return landed + ahead
        if _has_entries(landed.remaining) or self._outage_retry.outages != outages:
            return SliceResult(landed.outcomes, [*landed.remaining, slice_], landed.spent)
        self._prepared = ahead
        return SliceResult(landed.outcomes, [ahead.rest], landed.spent)

    def _attempt_ahead(self, slice_: Slice) -> SliceResult | Prepared:
        if self._in_flight is None:
            return self._until_done(slice_, partial(self._attempt, slice_))
        try:
            return self._attempt(slice_)
        except WorldFaultError:  # it is waited for when what commits is settled
            return SliceResult(remaining=[slice_])

    def _land(self) -> SliceResult:
        """Wait for the transaction that still commits; return what became of it, after more attempts if need be."""
        in_flight, self._in_flight = self._in_flight, None
        if in_flight is None:
            return SliceResult()
        landed = partial(self._unless_conflict, in_flight.slice, in_flight.future.result)
        return self._until_done(in_flight.slice, landed)

    def _has_landed(self) -> bool:
        """Wait for the transaction that still commits; tell whether nothing is left of it to do."""
        if self._in_flight is None:
            return True
        refuse_in_child()  # the thread that commits is its parent's
        future = self._in_flight.future
        return future.exception() is None and not _has_entries(future.result().remaining)

    def _until_done(self, slice_: Slice, first: Callable[[], T]) -> T | SliceResult:
        """Attempt a slice, by `first` to begin with, again and again while PostgreSQL is away."""
        again: Callable[[], T | SliceResult] = partial(self._attempt_again, slice_)
        attempts: Iterator[Callable[[], T | SliceResult]] = chain([first], repeat(again))

        def attempt() -> T | SliceResult:
            return next(attempts)()

        return self._outage_retry.call(attempt)

    def _attempt_again(self, slice_: Slice) -> SliceResult:
        """Run what is still ours of a slice and commit it: only that tells that PostgreSQL is back."""
        slice_ = replace(slice_, entries=self._ours(slice_.entries))
        return self._attempt_alone(slice_) if slice_.mode is Mode.ALONE else self._attempt_now(slice_)

    def _attempt_now(self, slice_: Slice) -> SliceResult:
        """Run a slice and commit it."""
        result = self._attempt(slice_)
        if isinstance(result, SliceResult):
            return result
        done = self._unless_conflict(result.slice, result.commit)
        return SliceResult(done.outcomes, [*done.remaining, result.rest], done.spent)

    def _attempt_alone(self, slice_: Slice) -> SliceResult:
        """Run the one entry of a slice; what fails again, with PostgreSQL in good health before that, is its own.

        Suspicion outlasts a wait for PostgreSQL: a record may be what takes the whole server down.
        """
        if not slice_.entries:
            return SliceResult()
        [entry] = slice_.entries
        if self._suspect is None or self._suspect[0] != entry.id:
            try:
                return self._attempt_now(slice_)
            except WorldFaultError as fault:
                if not fault.is_ambiguous:
                    raise
                self._suspect = entry.id, fault.__cause__
        self._check_health(self._suspect[1])
        try:
            return self._attempt_now(replace(slice_, entries=self._ours(slice_.entries), is_judged=True))
        except WorldFaultError as fault:
            if not fault.is_ambiguous or fault.__cause__ is None:
                raise
            return SliceResult([outcome_of(entry, fault.__cause__)])

    def _check_health(self, error: BaseException | None) -> None:
        """Raise `WorldFaultError` unless PostgreSQL serves us, and whatever `error` complains of is as it was."""
        try:
            is_well = self._health.is_good(error)
        except DBAPIError as failure:
            raise WorldFaultError(outage=True) from failure
        if not is_well:
            raise WorldFaultError(outage=True) from error

    def _attempt(self, slice_: Slice) -> SliceResult | Prepared:
        """Run a slice, and commit it unless that can be done later."""
        if not slice_.entries:
            return SliceResult()
        transaction = self._runner.open(slice_)
        with ExitStack() as at_end:
            at_end.callback(transaction.discard)
            result = self._unless_conflict(slice_, partial(self._run_in, transaction, slice_))
            if isinstance(result, Prepared):
                return replace(result, commit=partial(_commit, result.commit, at_end.pop_all()))
            return result

    def _run_in(self, transaction: OwnTransaction, slice_: Slice) -> SliceResult | Prepared:
        result = self._runner.run(transaction, slice_, self._limit, self._has_landed)
        if isinstance(transaction, SharedTransaction):
            self._note_wishes(transaction)
        return result

    def _unless_conflict(self, slice_: Slice, attempt: Callable[[], T]) -> T | SliceResult:
        """Return what `attempt` returns; if other transactions were in its way, that its slice is to be run again."""
        try:
            result = attempt()
        except ConfigurationError as error:
            if error.__cause__ is None or not self._health.is_taken_away(error.__cause__):
                raise
            raise WorldFaultError(outage=True) from error.__cause__
        except WorldFaultError as fault:
            # While another transaction commits, `_ours()` would end that one, too: it is waited for first.
            if fault.is_ambiguous and slice_.mode is not Mode.ALONE and self._in_flight is None:
                log.debug("running the records of a batch alone", reason=str(fault.__cause__))
                self._limit = max(1, self._limit // 2)
                return SliceResult(remaining=each_alone(self._ours(slice_.entries)))
            if fault.outage:
                raise
            self._limit = max(1, min(self._limit, len(slice_.entries)) // 2)
            self._observe(BatchRepeated(self._queue, str(fault.__cause__).splitlines()[0]))
            self._stop.wait(0.01)
            return SliceResult(remaining=[slice_])
        self._limit = min(self._batch_size, self._limit + self._limit // 8 + 1)
        return result

    def _note_wishes(self, shared: SharedTransaction) -> None:
        """Count how many records in a row had to be taken out of their batch for a transaction of their own."""
        before = 0 if shared.has_kept else self._wanted_own
        self._wanted_own = before + 1 if shared.wants_own else 0


def _has_entries(slices: Sequence[Slice]) -> bool:
    return any(slice_.entries for slice_ in slices)


def _commit(commit: Callable[[], SliceResult], at_end: ExitStack) -> SliceResult:
    with at_end:
        return commit()
