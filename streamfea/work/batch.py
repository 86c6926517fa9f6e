"""One transaction for a whole batch, and yet every record on its own: optimistic group commit.

All records of a batch run in one transaction, without savepoints. When something goes wrong, it is found out who it
was, exactly, and only then is it paid for. The rule that keeps this exact: *a record is convicted only by what it
does when nobody else's unwritten work is in the session*. Autoflush and commit write what earlier records have
added, so an IntegrityError raised inside one record may be another's. And the order of the records is kept, whatever
is run again: what came before a culprit is committed before it, what comes after it sees what it would have seen.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import structlog
from sqlalchemy.exc import SQLAlchemyError

from streamfea.database.blame import suspects
from streamfea.database.session import DbSession, TransactionAborted
from streamfea.entry import Entry
from streamfea.work.patience import Patience
from streamfea.work.policy import Fault, Outcome, Verdict, outcome_of, whose_fault
from streamfea.work.stopping import StopSignal

log = structlog.get_logger(__name__)

# A handler that so many records in a row want a transaction of their own for gets one each from then on.
_OWN_TRANSACTIONS_IN_A_ROW = 3


class Watch:
    """Told when a record starts and ends; the supervisor's time-out hangs on it."""

    def started(self, entry: Entry) -> None:
        """`entry`'s record is about to run."""

    def ended(self) -> None:
        """No record runs."""


@dataclass(frozen=True, slots=True)
class Part:
    """Entries to run in one transaction; `alone` for one that is to have it to itself.

    Those whose ids are in `suspects` run behind a savepoint, with everything before them written.
    """

    entries: Sequence[Entry]
    alone: bool = False
    suspects: frozenset[str] = frozenset()


@dataclass(slots=True)
class Attempt:
    """What running a part led to: outcomes that stand, and parts to run, in order, for the rest."""

    outcomes: list[Outcome] = field(default_factory=list)
    remaining: list[Part] = field(default_factory=list)


class GroupCommit:
    """Runs the records of entries through a handler and commits them together.

    `sessions` makes the sessions, `process` is given one and an entry. A transaction holds at most `batch_size`
    records and takes no new one after `commit_interval_seconds`.
    """

    def __init__(
        self,
        sessions: Callable[[], DbSession],
        process: Callable[[DbSession, Entry], None],
        *,
        batch_size: int,
        commit_interval_seconds: float,
        stop: StopSignal,
        watch: Watch | None = None,
    ) -> None:
        self._sessions = sessions
        self._process = process
        self._batch_size = batch_size
        self._limit = batch_size
        self._commit_interval = commit_interval_seconds
        self._stop = stop
        self._watch = watch or Watch()
        self._patience = Patience(
            "PostgreSQL", lambda error: isinstance(error, _WorldFaultError) and error.outage, stop
        )
        self._wanted_own = 0

    def run(self, entries: Sequence[Entry], *, alone: bool = False) -> Iterator[list[Outcome]]:
        """Yield the outcomes of each transaction as soon as it is committed, in the entries' order.

        Ends early, between transactions, when the worker is to stop: entries without an outcome were not started,
        or undone. Raises `Interrupted` when that happens while PostgreSQL is away.
        """
        parts = deque([Part([entry], alone=True) for entry in entries] if alone else [Part(entries)])
        while parts and not self._stop.is_set():
            part = parts.popleft()
            if not part.entries:
                continue
            if not part.alone and self._wanted_own >= _OWN_TRANSACTIONS_IN_A_ROW:
                parts.extendleft(Part([entry], alone=True) for entry in reversed(part.entries))
                continue
            attempt = self._patience.call(lambda part=part: self._attempt(part))  # type: ignore[misc]  # bound at once
            parts.extendleft(reversed(attempt.remaining))
            if attempt.outcomes:
                yield attempt.outcomes

    def _attempt(self, part: Part) -> Attempt:
        session = self._sessions()
        try:
            attempt = self._run_alone(session, part.entries[0]) if part.alone else self._run_together(session, part)
        except _WorldFaultError as fault:
            if fault.outage:
                raise
            self._limit = max(1, min(self._limit, len(part.entries)) // 2)
            log.info("doing a batch again", reason=str(fault.__cause__).splitlines()[0])
            self._stop.wait(0.01)
            return Attempt(remaining=[part])
        finally:
            self._watch.ended()
            _discard(session)
        self._limit = min(self._batch_size, self._limit + self._limit // 8 + 1)
        return attempt

    def _run_alone(self, session: DbSession, entry: Entry) -> Attempt:
        try:
            session.begin_record(entry)
            self._watch.started(entry)
            self._process(session, entry)
            session.end_record()
            _commit_whole(session)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            session.end_record()
            _raise_if_not_its_fault(session, error)
            return Attempt([outcome_of(entry, error)])
        return Attempt([Outcome(entry, Verdict.DONE)])

    def _run_together(self, session: DbSession, part: Part) -> Attempt:
        entries = part.entries
        session.share()
        outcomes: list[Outcome] = []
        deadline = time.monotonic() + self._commit_interval
        for index, entry in enumerate(entries):
            if index and (index >= self._limit or self._stop.is_set() or time.monotonic() > deadline):
                break
            suspected = entry.id in part.suspects
            try:
                session.begin_suspect(entry) if suspected else session.begin_record(entry)
            except Exception as error:
                return self._blame(session, replace(part, entries=entries[:index]), entries[index:], error)
            outcome = (self._run_suspect if suspected else self._run_in_company)(session, entry)
            if outcome is None:
                return Attempt(remaining=_split_at(entries, {entry.id}))
            outcomes.append(outcome)
        try:
            session.commit()
        except Exception as error:
            done = len(outcomes)
            return self._blame(session, replace(part, entries=entries[:done]), entries[done:], error)
        return Attempt(outcomes, [Part(entries[len(outcomes) :])])

    def _run_in_company(self, session: DbSession, entry: Entry) -> Outcome | None:
        """Run one record among others; return None when only a run alone can tell what becomes of it."""
        self._watch.started(entry)
        try:
            self._process(session, entry)
            outcome = Outcome(entry, Verdict.DONE)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            session.end_record()
            if not session.wants_own_transaction:
                _raise_if_not_its_fault(session, error)
            outcome = outcome_of(entry, error)
            if not session.forget_record():
                self._set_apart(session)
                return None
            return outcome
        session.end_record()
        if session.wants_own_transaction or not session.intact:
            self._set_apart(session)
            return None
        self._wanted_own = 0
        session.keep_record()
        return outcome

    def _run_suspect(self, session: DbSession, entry: Entry) -> Outcome | None:
        """Run one record behind its savepoint; return None when only a run alone can tell what becomes of it."""
        self._watch.started(entry)
        try:
            self._process(session, entry)
            session.end_record()
            if session.wants_own_transaction or not session.intact:
                self._set_apart(session)
                return None
            session.keep_suspect()
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            session.end_record()
            if not session.wants_own_transaction:
                _raise_if_not_its_fault(session, error)
            outcome = outcome_of(entry, error)
            if not session.forget_suspect():
                self._set_apart(session)
                return None
            return outcome
        return Outcome(entry, Verdict.DONE)

    def _set_apart(self, session: DbSession) -> None:
        self._wanted_own = self._wanted_own + 1 if session.wants_own_transaction else 0

    def _blame(self, session: DbSession, part: Part, rest: Sequence[Entry], error: Exception) -> Attempt:
        """Say how to run `part`, whose writes failed with `error`, so that the culprits end up alone."""
        _raise_if_not_its_fault(session, error)
        tried = part.entries
        if len(tried) == 1:
            return Attempt([outcome_of(tried[0], error)], [Part(rest)])
        suspected = suspects(error, session.unwritten)
        if suspected - part.suspects:
            return Attempt(remaining=[replace(part, suspects=part.suspects | suspected), Part(rest)])
        if suspected:
            return Attempt(remaining=[*_split_at(tried, suspected), Part(rest)])
        middle = len(tried) // 2
        return Attempt(remaining=[Part(tried[:middle]), Part(tried[middle:]), Part(rest)])


class _WorldFaultError(Exception):
    """Carries an exception that is not the record's fault to whoever can wait or try again."""

    def __init__(self, *, outage: bool) -> None:
        super().__init__()
        self.outage = outage


def _raise_if_not_its_fault(session: DbSession, error: BaseException) -> None:
    fault = whose_fault(error)
    if fault is not Fault.RECORD or session.lost:
        raise _WorldFaultError(outage=fault is not Fault.CONFLICT) from error


def _commit_whole(session: DbSession) -> None:
    if session.aborted:
        raise TransactionAborted("an SQL error aborted the transaction, and the handler went on as if nothing were")
    session.commit()


def _split_at(entries: Sequence[Entry], ids: set[str]) -> list[Part]:
    """Return parts in the entries' order in which those named by `ids` are alone and the others together."""
    parts: list[Part] = []
    company: list[Entry] = []
    for entry in entries:
        if entry.id in ids:
            parts += [Part(company), Part([entry], alone=True)]
            company = []
        else:
            company.append(entry)
    return [*parts, Part(company)]


def _discard(session: DbSession) -> None:
    try:
        session.close()
    except SQLAlchemyError:  # the connection is gone, and with it whatever the session held
        session.invalidate()
