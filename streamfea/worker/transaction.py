"""Runs the records of a slice in one transaction."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import psycopg
import structlog

from streamfea.core.entry import Entry
from streamfea.database.connection.errors import Fault, may_be_either, whose_fault
from streamfea.database.copy.culprits import suspects
from streamfea.database.exactly_once.ledger import Ledger
from streamfea.database.session.own import OwnTransaction
from streamfea.database.session.session import DbSession, Sessions
from streamfea.database.session.shared import SharedTransaction, StartAgain
from streamfea.errors import ConfigurationError
from streamfea.worker.monitor import RunMonitor
from streamfea.worker.policy import Outcome, Verdict, outcome_of
from streamfea.worker.slices import Mode, Prepared, Slice, SliceResult, Spent, each_alone, split_at
from streamfea.worker.stop_signal import StopAtOnce, StopSignal
from streamfea.worker.stopwatch import Stopwatch

__all__ = ["RunEntry", "Runner", "WholeBatch", "WorldFaultError", "is_away"]

log = structlog.get_logger(__name__)

RunEntry = Callable[[DbSession, Entry], object]


class WorldFaultError(Exception):
    """Carries an exception that is not the record's fault to the loop, which waits or tries again.

    With `is_ambiguous` it may be the record's all the same: only a run alone tells.
    """

    def __init__(self, *, outage: bool, is_ambiguous: bool = False) -> None:
        super().__init__()
        self.outage = outage
        self.is_ambiguous = is_ambiguous


def is_away(error: BaseException) -> bool:
    """Tell whether PostgreSQL has to be waited for."""
    return error.outage if isinstance(error, WorldFaultError) else whose_fault(error) is Fault.OUTAGE


@dataclass(frozen=True, slots=True)
class WholeBatch:
    """A handler's `process_batch(dbsession, records)`, and what makes the record that it is given of an entry.

    `decode` raises for an entry that no record can be made of, which then runs on its own.
    """

    decode: Callable[[Entry], Any]
    process: Callable[[DbSession, list[Any]], object]


class Runner:
    """Runs a slice in a transaction, and commits it.

    With a `ledger`, an entry that is in already is not run again, and a handler's own `commit()` stays inside the
    transaction. Raises `WorldFaultError` for what is nobody's fault, `ConfigurationError` without a usable ledger.
    """

    def __init__(
        self,
        sessions: Sessions,
        run_entry: RunEntry,
        whole_batch: WholeBatch | None,
        *,
        commit_interval_seconds: float,
        stop: StopSignal,
        monitor: RunMonitor,
        ledger: Ledger | None,
    ) -> None:
        self._sessions = sessions
        self._run_entry = run_entry
        self._whole_batch = whole_batch
        self._commit_interval = commit_interval_seconds
        self._stop = stop
        self._monitor = monitor
        self._ledger = ledger

    def open(self, slice_: Slice) -> OwnTransaction:
        """Return a transaction in which `slice_` can run."""
        if slice_.mode is Mode.TOGETHER:
            return self._sessions.shared()
        transaction = self._sessions.own() if self._ledger is None else self._sessions.enclosed()
        if slice_.is_judged:
            transaction.wait_for_locks_less()
        return transaction

    def run(
        self, transaction: OwnTransaction, slice_: Slice, limit: int, landed: Callable[[], bool] = lambda: True
    ) -> SliceResult | Prepared:
        """Run `slice_` in `transaction`, of which no more than `limit` entries at once.

        `landed` is asked before PostgreSQL is sent anything: it waits for the transaction before this one, and tells
        whether that has committed all that it was to.
        """
        try:
            if isinstance(transaction, SharedTransaction):
                return self._run_together(transaction, slice_, limit, landed)
            if slice_.mode is Mode.WHOLE and self._whole_batch is not None:
                return self._run_whole(self._whole_batch, transaction, slice_.entries[:limit], slice_.entries[limit:])
            return self._run_alone(transaction, slice_.entries[0])
        except StartAgain:
            return SliceResult(remaining=[replace(slice_, ledger_first=True)])
        finally:
            self._monitor.ended()

    def _run_whole(
        self, whole: WholeBatch, transaction: OwnTransaction, entries: Sequence[Entry], rest: Sequence[Entry]
    ) -> SliceResult:
        """Run entries through `process_batch()`; if it fails, they run one by one."""
        decoded, unreadable = _decoded(whole, entries)
        readable = [entry for entry, _ in decoded]
        transaction.begin()
        known = self._enter(transaction, readable)
        fresh = [(entry, record) for entry, record in decoded if entry.id not in known]
        watch = Stopwatch()
        try:
            if fresh:
                transaction.begin_batch([entry for entry, _ in fresh])
                self._monitor.started(fresh[0][0])
                whole.process(transaction.session, [record for _, record in fresh])
            running = watch.lap()
            transaction.commit()
        except BaseException as error:
            _raise_if_not_its_fault(transaction, error)
            log.debug("a batch failed: its records run one by one", entries=len(entries), exc_info=True)
            return SliceResult(unreadable, [Slice(readable), Slice(rest, Mode.WHOLE)])
        outcomes = [*unreadable, *(_settled(entry, known) for entry in readable)]
        return SliceResult(outcomes, [Slice(rest, Mode.WHOLE)], Spent(running, committing=watch.lap()))

    def _run_alone(self, transaction: OwnTransaction, entry: Entry) -> SliceResult:
        transaction.begin()
        if self._enter(transaction, [entry]):
            return SliceResult([Outcome(entry, Verdict.DUPLICATE)])
        watch = Stopwatch()
        try:
            transaction.begin_record(entry)
            self._monitor.started(entry)
            self._run_entry(transaction.session, entry)
            running = watch.lap()
            transaction.commit()
        except BaseException as error:
            _raise_if_not_its_fault(transaction, error)
            if may_be_either(error):
                raise WorldFaultError(outage=True, is_ambiguous=True) from error
            return SliceResult([outcome_of(entry, error)], spent=Spent(watch.lap()))
        return SliceResult([Outcome(entry, Verdict.DONE)], spent=Spent(running, committing=watch.lap()))

    def _run_together(
        self, shared: SharedTransaction, slice_: Slice, limit: int, landed: Callable[[], bool]
    ) -> SliceResult | Prepared:
        entries, batch = slice_.entries, slice_.entries[:limit]
        if shared.is_told_apart:
            return SliceResult(remaining=each_alone(entries))
        first = partial(self._start, shared, [] if slice_.ledger_first else batch, landed)
        shared.share(first, self._ledger is not None)
        known = set[str]()
        if slice_.ledger_first:
            shared.start()
            known = self._enter(shared, batch)
        outcomes: list[Outcome] = []
        watch = Stopwatch()
        deadline = time.monotonic() + self._commit_interval
        for index, entry in enumerate(entries):
            if index and (index >= limit or self._stop.is_set() or time.monotonic() > deadline):
                break
            outcome = Outcome(entry, Verdict.DUPLICATE) if entry.id in known else self._run_in_company(shared, entry)
            if outcome is None:
                return SliceResult(remaining=split_at(entries, {shared.culprit or entry.id}))
            outcomes.append(outcome)
        running = watch.lap()
        done, rest = replace(slice_, entries=entries[: len(outcomes)]), entries[len(outcomes) :]
        if shared.has_only_rows:
            commit = partial(self._commit_rows, shared, done, outcomes, running)
            return Prepared(done, Slice(rest), partial(self._start_rows, shared), commit)
        shared.start()
        # What was in already stays in, also where this run did not come to it.
        entered = [entry for entry in batch if entry.id not in known]
        return self._commit_together(shared, done, rest, outcomes, entered, running)

    def _run_in_company(self, shared: SharedTransaction, entry: Entry) -> Outcome | None:
        """Run one record among others; return None when only a run alone can tell what becomes of it."""
        try:
            shared.begin_record(entry)
            self._monitor.started(entry)
            self._run_entry(shared.session, entry)
            kept = shared.keep_record()
        except BaseException as error:
            _raise_if_not_its_fault(shared, error)
            return outcome_of(entry, error) if shared.forget_record() else None
        return Outcome(entry, Verdict.DONE) if kept else None

    def _start(self, shared: SharedTransaction, entries: Sequence[Entry], landed: Callable[[], bool]) -> None:
        """Do what must come before the first statement of a shared transaction."""
        if not landed() or self._enter(shared, entries):
            raise StartAgain

    def _start_rows(self, shared: SharedTransaction) -> None:
        """Send PostgreSQL the rows of records that have done nothing but add them."""
        shared.start_without()
        shared.start_writing()

    def _commit_rows(
        self, shared: SharedTransaction, slice_: Slice, outcomes: list[Outcome], running: float
    ) -> SliceResult:
        """Commit records that have done nothing but add rows; those that the ledger knows are left out of it."""
        shared.start_without()
        if self._ledger is not None:
            spent = self._commit_before_ledger(shared, self._ledger, outcomes)
            if spent is not None:
                return SliceResult(outcomes, spent=replace(spent, running=running))
        known = self._enter(shared, slice_.entries)
        if known:
            shared.leave_out(known)
            outcomes = [
                Outcome(outcome.entry, Verdict.DUPLICATE) if outcome.entry.id in known else outcome
                for outcome in outcomes
            ]
        return self._commit_together(shared, slice_, [], outcomes, slice_.entries, running)

    def _commit_before_ledger(
        self, shared: SharedTransaction, ledger: Ledger, outcomes: Sequence[Outcome]
    ) -> Spent | None:
        """Commit rows that are sent, and then their entries; return None, with nothing done, if that cannot be.

        If this fast order fails, nothing is blamed. Everything is rolled back and repeated with the ledger first,
        because a conflicting row may come from an entry that is already done.
        """
        if not shared.has_started_writing:
            return None
        done = [outcome.entry.id for outcome in outcomes if outcome.verdict is Verdict.DONE]
        watch, writing = Stopwatch(), 0.0

        def enter(driver: "psycopg.Connection[Any]") -> None:
            nonlocal writing
            writing = watch.lap()
            ledger.enter_all(driver, done)

        try:
            shared.commit_started(enter)
        except Exception as error:
            _raise_if_not_its_fault(shared, error)
            return None
        return Spent(writing=writing, committing=watch.lap())

    def _commit_together(
        self,
        shared: SharedTransaction,
        slice_: Slice,
        rest: Sequence[Entry],
        outcomes: list[Outcome],
        entered: Sequence[Entry],
        running: float,
    ) -> SliceResult:
        """Write and commit what the records of `slice_` did."""
        watch = Stopwatch()
        try:
            outcomes = _with_failed(outcomes, shared.write())
            writing = watch.lap()
            self._withdraw(shared, entered, outcomes)
            shared.commit()
        except BaseException as error:
            _raise_if_not_its_fault(shared, error)
            return _without_culprits(shared, slice_, rest, error)
        return SliceResult(outcomes, [Slice(rest)], Spent(running, writing, watch.lap()))

    def _enter(self, transaction: OwnTransaction, entries: Sequence[Entry]) -> set[str]:
        """Note entries as done, unless they are already; return the ids of those."""
        if self._ledger is None or not entries:
            return set()
        try:
            return self._ledger.enter(transaction.session, [entry.id for entry in entries])
        except Exception as error:
            _raise_if_not_its_fault(transaction, error, by_record=False)
            reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
            raise ConfigurationError(
                f"the ledger of exactly-once cannot be written: {reason}",
                remedy="run `streamfea initdb`, or GRANT SELECT, INSERT, DELETE on table streamfea_ledger",
            ) from error

    def _withdraw(self, transaction: OwnTransaction, entered: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        """Take those out of the ledger again that were not run, or whose run came to nothing."""
        if self._ledger is None:
            return
        done = {outcome.entry.id for outcome in outcomes if outcome.verdict in (Verdict.DONE, Verdict.DUPLICATE)}
        self._ledger.withdraw(transaction.session, [entry.id for entry in entered if entry.id not in done])


def _without_culprits(
    shared: SharedTransaction, slice_: Slice, rest: Sequence[Entry], error: BaseException
) -> SliceResult:
    """Say how to run `slice_`, whose writes failed with `error`, so that the culprits end up alone."""
    tried = slice_.entries
    if len(tried) == 1 or may_be_either(error):
        return SliceResult(remaining=[*each_alone(tried), Slice(rest)])
    suspected = {shared.culprit} if shared.culprit else suspects(error, shared.unwritten)
    if suspected:
        return SliceResult(remaining=[*split_at(tried, suspected), Slice(rest)])
    middle = len(tried) // 2
    return SliceResult(remaining=[Slice(tried[:middle]), Slice(tried[middle:]), Slice(rest)])


def _decoded(whole: WholeBatch, entries: Sequence[Entry]) -> tuple[list[tuple[Entry, Any]], list[Outcome]]:
    """Return the entries with their records, and the outcomes of those that no record can be made of."""
    decoded: list[tuple[Entry, Any]] = []
    unreadable: list[Outcome] = []
    for entry in entries:
        try:
            decoded.append((entry, whole.decode(entry)))
        except Exception as error:
            unreadable.append(outcome_of(entry, error))
    return decoded, unreadable


def _with_failed(outcomes: list[Outcome], failed: Mapping[str, Exception]) -> list[Outcome]:
    """Return `outcomes`, in which those of entries in `failed` follow from these errors."""
    if not failed:
        return outcomes
    return [
        outcome_of(outcome.entry, failed[outcome.entry.id]) if outcome.entry.id in failed else outcome
        for outcome in outcomes
    ]


def _settled(entry: Entry, known: set[str]) -> Outcome:
    return Outcome(entry, Verdict.DUPLICATE if entry.id in known else Verdict.DONE)


def _raise_if_not_its_fault(transaction: OwnTransaction, error: BaseException, *, by_record: bool = True) -> None:
    """End the record, and raise what stops the worker or its batch, or is nobody's fault.

    `by_record` tells that a record's code has run, which may have brought about what looks like an outage.
    """
    if isinstance(error, StopAtOnce | StartAgain):
        raise error
    transaction.end_record()
    if transaction.wants_own:
        return
    fault = whose_fault(error)
    if fault is not Fault.RECORD or transaction.lost:
        is_ambiguous = by_record and (transaction.lost or may_be_either(error))
        raise WorldFaultError(outage=fault is not Fault.CONFLICT, is_ambiguous=is_ambiguous) from error
