"""One transaction: the records of a part in, outcomes and what is left to do out."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from streamfea.core.entry import Entry
from streamfea.database.copy.culprits import suspects
from streamfea.database.exactly_once.ledger import Ledger
from streamfea.database.session.session import DbSession, StartAgain
from streamfea.errors import ConfigurationError
from streamfea.worker.policy import Fault, Outcome, Verdict, outcome_of, whose_fault
from streamfea.worker.slices import Attempt, Mode, Part, Ready, each_alone, split_at
from streamfea.worker.stop_signal import StopAtOnce, StopSignal

__all__ = ["Process", "Runner", "Watch", "WholeBatch", "WorldFaultError"]

log = structlog.get_logger(__name__)

Process = Callable[[DbSession, Entry], object]


class WorldFaultError(Exception):
    """Carries an exception that is not the record's fault to whoever can wait or try again."""

    def __init__(self, *, outage: bool) -> None:
        super().__init__()
        self.outage = outage


@dataclass(frozen=True, slots=True)
class WholeBatch:
    """A handler's `process_batch(dbsession, records)`, and what makes the record that it is given of an entry.

    `decode` raises for an entry that no record can be made of, which then runs on its own.
    """

    decode: Callable[[Entry], Any]
    process: Callable[[DbSession, list[Any]], object]


class Watch:
    """Told when a record starts and ends, and that the threads of the process run; the supervisor looks at it."""

    def started(self, entry: Entry) -> None:
        """`entry`'s record is about to run."""

    def ended(self) -> None:
        """No record runs."""

    def beat(self) -> None:
        """Note that a thread beside the record's runs: its handler does not hold the interpreter's lock."""

    def running(self) -> tuple[str, float] | None:
        """Return the id of the entry whose record runs, and for how many seconds it has, as far as this watch knows."""
        return None


class Runner:
    """Runs a part in a transaction of a given session, and commits it.

    With a `ledger`, an entry that is in already is not run again, and a handler's own `commit()` stays inside the
    transaction. Raises `WorldFaultError` for what is nobody's fault, `ConfigurationError` without a usable ledger.
    """

    def __init__(
        self,
        process: Process,
        whole_batch: WholeBatch | None,
        *,
        commit_interval_seconds: float,
        stop: StopSignal,
        watch: Watch,
        ledger: Ledger | None,
    ) -> None:
        self._process = process
        self._whole_batch = whole_batch
        self._commit_interval = commit_interval_seconds
        self._stop = stop
        self._watch = watch
        self._ledger = ledger

    def run(
        self, session: DbSession, part: Part, limit: int, landed: Callable[[], bool] = lambda: True
    ) -> Attempt | Ready:
        """Run `part`, of which no more than `limit` entries at once.

        `landed` is asked before PostgreSQL is sent anything: it waits for the transaction before this one, and tells
        whether that has committed all that it was to.
        """
        try:
            if part.mode is Mode.ALONE:
                return self._run_alone(session, part.entries[0])
            if part.mode is Mode.WHOLE and self._whole_batch is not None:
                return self._run_whole(self._whole_batch, session, part.entries[:limit], part.entries[limit:])
            return self._run_together(session, part, limit, landed)
        except StartAgain:
            return Attempt(remaining=[replace(part, ledger_first=True)])
        finally:
            self._watch.ended()

    def _run_whole(
        self, whole: WholeBatch, session: DbSession, entries: Sequence[Entry], rest: Sequence[Entry]
    ) -> Attempt:
        """Run entries through `process_batch()`; if it fails, they run one by one."""
        decoded, unreadable = _decoded(whole, entries)
        readable = [entry for entry, _ in decoded]
        known = self._enter_enclosed(session, readable)
        fresh = [(entry, record) for entry, record in decoded if entry.id not in known]
        try:
            if fresh:
                session.begin_batch([entry for entry, _ in fresh])
                self._watch.started(fresh[0][0])
                whole.process(session, [record for _, record in fresh])
            session.commit_whole()
        except StopAtOnce:
            raise
        except BaseException as error:
            session.end_record()
            _raise_if_not_its_fault(session, error)
            log.debug("a batch failed: its records run one by one", entries=len(entries), exc_info=True)
            return Attempt(unreadable, [Part(readable), Part(rest, Mode.WHOLE)])
        return Attempt([*unreadable, *(_settled(entry, known) for entry in readable)], [Part(rest, Mode.WHOLE)])

    def _run_alone(self, session: DbSession, entry: Entry) -> Attempt:
        if self._enter_enclosed(session, [entry]):
            return Attempt([Outcome(entry, Verdict.DUPLICATE)])
        try:
            session.begin_record(entry)
            self._watch.started(entry)
            self._process(session, entry)
            session.commit_whole()
        except StopAtOnce:
            raise
        except BaseException as error:
            session.end_record()
            _raise_if_not_its_fault(session, error)
            return Attempt([outcome_of(entry, error)])
        return Attempt([Outcome(entry, Verdict.DONE)])

    def _run_together(self, session: DbSession, part: Part, limit: int, landed: Callable[[], bool]) -> Attempt | Ready:
        entries = part.entries
        batch = entries[:limit]
        if session.hears_its_own:
            return Attempt(remaining=each_alone(entries))
        session.share(partial(self._start, session, [] if part.ledger_first else batch, landed))
        known = self._enter(session, batch) if part.ledger_first else set()
        outcomes: list[Outcome] = []
        deadline = time.monotonic() + self._commit_interval
        for index, entry in enumerate(entries):
            if index and (index >= limit or self._stop.is_set() or time.monotonic() > deadline):
                break
            if known and entry.id in known:
                outcomes.append(Outcome(entry, Verdict.DUPLICATE))
                continue
            is_suspect = bool(part.suspects) and entry.id in part.suspects
            try:
                session.begin_suspect(entry) if is_suspect else session.begin_record(entry)
            except Exception as error:
                return self._blame(session, replace(part, entries=entries[:index]), entries[index:], error)
            outcome = self._run_suspect(session, entry) if is_suspect else self._run_in_company(session, entry)
            if outcome is None:
                return Attempt(remaining=split_at(entries, {entry.id}))
            outcomes.append(outcome)
        done, rest = replace(part, entries=entries[: len(outcomes)]), entries[len(outcomes) :]
        if session.has_only_rows:
            commit = partial(self._commit_rows, session, done, outcomes)
            return Ready(done, Part(rest), partial(self._start_rows, session), commit)
        session.start()
        # What was in already stays in, also where this run did not come to it.
        entered = [entry for entry in batch if entry.id not in known]
        return self._commit_together(session, done, rest, outcomes, entered)

    def _start(self, session: DbSession, entries: Sequence[Entry], landed: Callable[[], bool]) -> None:
        """Do what must come before the first statement of a shared transaction."""
        if not landed() or self._enter(session, entries):
            raise StartAgain

    def _start_rows(self, session: DbSession) -> None:
        """Send PostgreSQL the rows of records that have done nothing but add them."""
        session.start_without()
        session.start_writing()

    def _commit_rows(self, session: DbSession, part: Part, outcomes: list[Outcome]) -> Attempt:
        """Commit records that have done nothing but add rows; those that the ledger knows are left out of it."""
        session.start_without()
        if self._ledger is not None and self._commit_before_ledger(session, self._ledger, outcomes):
            return Attempt(outcomes)
        known = self._enter(session, part.entries)
        if known:
            session.leave_out(known)
            outcomes = [Outcome(one.entry, Verdict.DUPLICATE) if one.entry.id in known else one for one in outcomes]
        return self._commit_together(session, part, [], outcomes, part.entries)

    def _commit_before_ledger(self, session: DbSession, ledger: Ledger, outcomes: Sequence[Outcome]) -> bool:
        """Commit rows that are sent, and then their entries; return False, with nothing done, if that cannot be.

        A row is nobody's fault as long as the ledger has not said that its entry is new: then it all goes in order.
        """
        if not session.has_started_writing:
            return False
        done = [outcome.entry.id for outcome in outcomes if outcome.verdict is Verdict.DONE]
        try:
            session.commit_started(lambda driver: ledger.enter_all(driver, done))
        except Exception as error:
            _raise_if_not_its_fault(session, error)
            return False
        return True

    def _commit_together(
        self, session: DbSession, part: Part, rest: Sequence[Entry], outcomes: list[Outcome], entered: Sequence[Entry]
    ) -> Attempt:
        """Write and commit what the records of `part` did."""
        try:
            outcomes = _with_failed(outcomes, session.write_rows_of_the_good())
            self._withdraw(session, entered, outcomes)
            session.commit()
        except (StopAtOnce, StartAgain):
            raise
        except BaseException as error:
            return self._blame(session, part, rest, error)
        return Attempt(outcomes, [Part(rest)])

    def _run_in_company(self, session: DbSession, entry: Entry) -> Outcome | None:
        """Run one record among others; return None when only a run alone can tell what becomes of it."""
        self._watch.started(entry)
        try:
            self._process(session, entry)
            kept = session.keep_record()
        except (StopAtOnce, StartAgain):
            raise
        except BaseException as error:
            session.end_record()
            if not session.wants_own_transaction:
                _raise_if_not_its_fault(session, error)
            return outcome_of(entry, error) if session.forget_record() else None
        return Outcome(entry, Verdict.DONE) if kept else None

    def _run_suspect(self, session: DbSession, entry: Entry) -> Outcome | None:
        """Run one record behind its savepoint; return None when only a run alone can tell what becomes of it."""
        self._watch.started(entry)
        try:
            self._process(session, entry)
            kept = session.keep_suspect()
        except (StopAtOnce, StartAgain):
            raise
        except BaseException as error:
            session.end_record()
            if not session.wants_own_transaction:
                _raise_if_not_its_fault(session, error)
            return outcome_of(entry, error) if session.forget_suspect() else None
        return Outcome(entry, Verdict.DONE) if kept else None

    def _blame(self, session: DbSession, part: Part, rest: Sequence[Entry], error: BaseException) -> Attempt:
        """Say how to run `part`, whose writes failed with `error`, so that the culprits end up alone."""
        session.end_record()
        _raise_if_not_its_fault(session, error)
        tried = part.entries
        if len(tried) == 1:
            return Attempt(remaining=[Part(tried, Mode.ALONE), Part(rest)])
        suspected = suspects(error, session.unwritten)
        if suspected - part.suspects:
            return Attempt(remaining=[replace(part, suspects=part.suspects | suspected), Part(rest)])
        if suspected:
            return Attempt(remaining=[*split_at(tried, suspected), Part(rest)])
        middle = len(tried) // 2
        return Attempt(remaining=[Part(tried[:middle]), Part(tried[middle:]), Part(rest)])

    def _enter_enclosed(self, session: DbSession, entries: Sequence[Entry]) -> set[str]:
        """Note entries that have the transaction to themselves as done; return the ids of those that are already."""
        if self._ledger is None:
            return set()
        session.enclose()
        return self._enter(session, entries)

    def _enter(self, session: DbSession, entries: Sequence[Entry]) -> set[str]:
        """Note entries as done, unless they are already; return the ids of those."""
        if self._ledger is None or not entries:
            return set()
        try:
            return self._ledger.enter(session, [entry.id for entry in entries])
        except Exception as error:
            _raise_if_not_its_fault(session, error)
            reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
            raise ConfigurationError(
                f"the ledger of exactly-once cannot be written: {reason}",
                remedy="run `streamfea initdb`, or GRANT SELECT, INSERT, DELETE on table streamfea_ledger",
            ) from error

    def _withdraw(self, session: DbSession, entered: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        """Take those out of the ledger again that were not run, or whose run came to nothing."""
        if self._ledger is None:
            return
        done = {outcome.entry.id for outcome in outcomes if outcome.verdict in (Verdict.DONE, Verdict.DUPLICATE)}
        self._ledger.withdraw(session, [entry.id for entry in entered if entry.id not in done])


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
    return [outcome_of(one.entry, failed[one.entry.id]) if one.entry.id in failed else one for one in outcomes]


def _settled(entry: Entry, known: set[str]) -> Outcome:
    return Outcome(entry, Verdict.DUPLICATE if entry.id in known else Verdict.DONE)


def _raise_if_not_its_fault(session: DbSession, error: BaseException) -> None:
    fault = whose_fault(error)
    if fault is not Fault.RECORD or session.lost:
        raise WorldFaultError(outage=fault is not Fault.CONFLICT) from error
