"""The loop of one consumer: claim what is due, read what is new, run it, settle it."""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import chain
from typing import TypeVar

import structlog
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from sqlalchemy.exc import DBAPIError

from streamfea.core.entry import Entry
from streamfea.core.record_field import RecordField
from streamfea.database.connection.errors import could_not_connect
from streamfea.database.connection.fencing import end_transactions
from streamfea.database.exactly_once.ledger import Ledger
from streamfea.database.session.session import Sessions
from streamfea.handlers.loading import Handler
from streamfea.streams.connection.errors import is_outage
from streamfea.streams.connection.reply_limit import ReplyTooLongError
from streamfea.streams.consuming.group import Claimed, GroupConsumer
from streamfea.streams.consuming.name_lock import NameLock
from streamfea.streams.consuming.reader import Reader
from streamfea.worker.batch_size import AdaptiveBatchSize
from streamfea.worker.commits import group_commit
from streamfea.worker.janitor import Janitor
from streamfea.worker.joining import joining
from streamfea.worker.lease import Lease
from streamfea.worker.monitor import RunMonitor
from streamfea.worker.outage import Interrupted, OutageRetry, first_line
from streamfea.worker.policy import Outcome, Verdict
from streamfea.worker.process_guard import take_back_signals
from streamfea.worker.settlement import Reason, Settlement
from streamfea.worker.stop_signal import StopSignal
from streamfea.worker.transaction import WorldFaultError, is_away

__all__ = ["Predecessor", "Worker"]

log = structlog.get_logger(__name__)

_LOOK_FOR_DUE_EVERY = timedelta(seconds=1)
_UNTIL_EMPTY_BLOCK = timedelta(milliseconds=100)
_CLAIM_AT_MOST = 100
# Entries wait no longer in a worker that is busy, when another may be free.
_READ_AHEAD_FOR_SECONDS = 0.02
_ASK_FOR_NAME_EVERY_SECONDS = 0.5
# Longer than a restart of PostgreSQL takes as a rule, so that not everything changes hands then.
_HOLD_WITHOUT_CONNECTION_SECONDS = 5.0

T = TypeVar("T")


class _OutOfReach(Exception):  # noqa: N818 - it says what happened to the wait, it is no error
    """PostgreSQL has refused connections for so long that the held entries are given to others."""


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The worker process that this one replaces: its consumer name, and how it died."""

    consumer: str
    reason: Reason
    how: str


class Worker:
    """Consumes one queue until `stop` is set or, with `until_empty`, until nothing is left to do.

    What is new runs together, in group commits. What was delivered before runs alone: it may be what killed its worker.
    """

    def __init__(
        self,
        handler: Handler,
        group: GroupConsumer,
        reader: Reader,
        sessions: Sessions,
        stop: StopSignal,
        janitor: Janitor,
        name_lock: NameLock,
        *,
        ledger: Ledger | None = None,
        until_empty: bool = False,
        predecessors: Sequence[Predecessor] = (),
        monitor: RunMonitor | None = None,
        log_records: bool = False,
    ) -> None:
        queue = handler.queue
        self._queue = queue
        self._field = RecordField(queue.field)
        self._group = group
        self._stop = stop
        self._janitor = janitor
        self._until_empty = until_empty
        self._predecessors = predecessors or [_same_name(group.consumer)]
        self._sessions = sessions
        self._redis = OutageRetry("Redis", is_outage, stop, janitor.make_room)
        self._postgresql = OutageRetry("PostgreSQL", is_away, stop, self._hold_no_longer)
        self._reader = reader
        self._settlement = Settlement(group, reader.acknowledge, queue.max_deliveries, queue.backoff)
        self._name_lock = name_lock
        self._lease = Lease(group, name_lock, monitor or RunMonitor(), lambda: reader.catch_up(self._hold))
        self._ledger = ledger
        self._join = joining(group, ledger, sessions, self._redis, self._postgresql)
        self._holding: dict[str, Claimed | Entry] = {}
        self._batch_size = AdaptiveBatchSize(queue.commit_interval, queue.batch_size, queue.batch_bytes)
        self._look_for_due_at = 0.0
        self._asked_for = 0
        self._ahead_since = 0.0
        self._done = 0
        self._batch = group_commit(
            handler,
            sessions,
            stop,
            monitor=monitor,
            log_records=log_records,
            ledger=ledger,
            ours=self._ours_after_outage,
            overlap=True,
            outage_retry=self._postgresql,
        )

    def run(self) -> None:
        """Work until told to stop, then give back what was not started and leave the group."""
        started = time.monotonic()
        is_silent = False
        try:
            self._join()
            self._take_name()
            self._postgresql.call(self._batch.look_around)
            self._lease.start()
            log.info("consuming", queue=self._queue.name, stream=self._queue.stream, consumer=self._group.consumer)
            for dead in self._predecessors:
                self._within_reach(partial(self._succeed, dead))
            while not self._stop.is_set():
                take_back_signals()
                if self._group.must_join and not self._reader.is_ahead:
                    self._join_again()
                worked = self._within_reach(lambda: self._work_on_what_is_due() | self._work_on_what_is_new())
                self._redis.call(self._janitor.tidy)
                if self._until_empty and not worked and self._redis.call(self._is_drained):
                    self._redis.call(self._janitor.finish)
                    break
            self._finish()
        except Interrupted as error:
            is_silent = _is_silent(error)
        except BaseException:
            with suppress(RedisError):  # or a successor would do again what is done
                self._reader.confirm()
            raise
        finally:
            self._lease.end()
        if is_silent:
            log.warning("left without handing over: Redis does not answer; others take over after claim_idle")
        else:
            self._leave()
        log.info(
            "stopped",
            queue=self._queue.name,
            committed=self._done,
            seconds=round(time.monotonic() - started, 1),
        )

    def _join_again(self) -> None:
        """Finish what was read from a stream, or a group, that is gone, and go on in the one that took its place."""
        self._finish()
        self._reader.forget()
        self._release(list(self._holding))
        self._join()
        self._give_back_unseen()  # what was read without knowing whose it was

    def _within_reach(self, work: Callable[[], T]) -> T | None:
        """Return what `work` returns; None if PostgreSQL let nobody in, after giving away all and waiting for it."""
        try:
            return work()
        except _OutOfReach:
            log.warning("handing over to consumers that PostgreSQL may let in", entries=len(self._holding))
            self._give_back()
            self._postgresql.call(self._batch.look_around)
            return None

    def _hold_no_longer(self, error: BaseException) -> None:
        """End a wait for a connection while we hold what others, with a connection, could do."""
        waits = self._postgresql.waiting_seconds > _HOLD_WITHOUT_CONNECTION_SECONDS
        if waits and self._holding and not self._stop.is_set() and could_not_connect(error):
            raise _OutOfReach

    def _take_name(self) -> None:
        """Wait until no other process consumes under this consumer's name."""
        other = self._redis.call(self._name_lock.renew)
        if other is not None:
            log.warning("waiting for another process to give up its name", name=self._group.consumer, held_by=other)
        while other is not None:
            if self._stop.wait(_ASK_FOR_NAME_EVERY_SECONDS):
                raise Interrupted("stopped while waiting for a name")
            other = self._redis.call(self._name_lock.renew)

    def _succeed(self, dead: Predecessor) -> None:
        """Take over what a worker that this one replaces has left, without waiting for `claim_idle`."""
        after: str | None = None
        while not self._stop.is_set():
            claimed, after = self._redis.call(
                lambda after=after: self._group.take_over(dead.consumer, _CLAIM_AT_MOST, after)  # type: ignore[misc]  # bound at once
            )
            self._hold(claimed)
            if claimed:  # it may be stopped, not dead
                self._end_transactions({dead.consumer})
            self._run_alone(claimed, dead)
            if after is None:
                break
        if dead.consumer != self._group.consumer:
            self._redis.call(lambda: self._group.forget(dead.consumer))

    def _work_on_what_is_due(self) -> bool:
        if self._reader.is_ahead or not self._is_time_for_due:
            return False
        claimed = self._redis.call(lambda: self._group.claim(min(_CLAIM_AT_MOST, self._batch_size.count)))
        if self._group.claim_finished:
            every = min(_LOOK_FOR_DUE_EVERY, self._queue.backoff, self._queue.claim_idle)
            self._look_for_due_at = time.monotonic() + every.total_seconds()
        self._hold(claimed)
        owners = {claim.owner for claim in claimed if claim.last_error is None or claim.last_error.alone}
        self._end_transactions(owners - {self._group.consumer})
        self._run_alone(claimed, None)
        return bool(claimed) or not self._group.claim_finished

    @property
    def _is_time_for_due(self) -> bool:
        return time.monotonic() >= self._look_for_due_at

    def _end_transactions(self, consumers: Collection[str]) -> None:
        """Leave nothing in the way that consumers have begun whose entries are ours now: they are taken for dead."""
        if not consumers:
            return
        if self._postgresql.call(lambda: end_transactions(self._sessions, self._queue.ref, consumers)):
            log.warning("ended the transactions of consumers that have stopped", consumers=sorted(consumers))

    def _ours(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return those of these entries that nobody has taken over while PostgreSQL was away; forget the others."""
        lost = self._redis.call(self._lease.renew)
        self._release([entry.id for entry in entries if entry.id in lost])
        return [entry for entry in entries if entry.id not in lost]

    def _ours_after_outage(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return what `_ours()` does, and leave nothing in the way that an earlier connection of our own has begun.

        PostgreSQL may not know that it is dead.
        """
        with suppress(DBAPIError):  # the next statement meets the same error
            end_transactions(self._sessions, self._queue.ref, {self._group.consumer})
        return self._ours(entries)

    def _run_alone(self, claimed: Sequence[Claimed], dead: Predecessor | None) -> None:
        """Run claimed entries one by one; those in whose own run a process died wait, or are buried, instead."""
        if claimed:
            self._finish()
        for claim in claimed:
            if self._stop.is_set():
                return
            if claim.last_error is not None and claim.last_error.alone:
                self._settle_death(claim, dead)
                continue
            self._postgresql.call(lambda claim=claim: self._run_one(claim))  # type: ignore[misc]  # bound at once

    def _run_one(self, claimed: Claimed) -> None:
        """Count a delivery, and run the entry; raise `WorldFaultError` when PostgreSQL is away.

        Then the delivery is taken back, because a successor treats an entry that is marked as running alone as the
        cause of the crash.
        """
        entry = self._redis.call(lambda: self._group.deliver_alone(claimed))
        if entry is None:
            self._release([claimed.id])
            return
        try:
            for ready in self._without_missing_records([entry]):
                self._run([ready], alone=True)
        except WorldFaultError:
            self._redis.call(lambda: self._group.undeliver(claimed))
            raise

    def _settle_death(self, claimed: Claimed, dead: Predecessor | None) -> None:
        reason: Reason = dead.reason if dead else "crashed"
        how = dead.how if dead else "it was killed or lost"
        is_in = self._postgresql.call(lambda: self._is_in(claimed.id))
        self._release([claimed.id])
        if is_in:  # it died after its COMMIT
            self._redis.call(lambda: self._group.acknowledge_retried([claimed.id]))
        else:
            self._redis.call(lambda: self._settlement.settle_death(claimed, reason, how))

    def _is_in(self, entry_id: str) -> bool:
        """Tell whether exactly-once has noted an entry as done; waits for a transaction that is about to."""
        if self._ledger is None:
            return False
        with self._sessions() as session:
            return bool(self._ledger.enter(session, [entry_id]))  # and rolled back at the end

    def _work_on_what_is_new(self) -> bool:
        outages = self._redis.outages
        is_ahead = self._reader.is_ahead
        try:
            entries = self._redis.call(self._read)
        except ReplyTooLongError:
            entries = self._leave_to_be_claimed()
        self._hold(entries)
        if self._redis.outages != outages:
            self._give_back_unseen()
        if is_ahead and time.monotonic() - self._ahead_since > self._lease.every_seconds:
            entries = self._ours(entries)
        if entries:
            self._read_ahead_of(entries)
            self._run(self._without_missing_records(entries), alone=False)
        else:
            self._finish()
        return bool(entries)

    def _read(self) -> list[Entry]:
        try:
            if self._reader.is_ahead:
                return self._reader.receive()
            self._asked_for = self._batch_size.count
            return self._reader.read(self._asked_for, self._block())
        except ReplyTooLongError:
            raise
        except RedisError:
            # Before the next try: were the reply too long again, all that is new would be lost.
            self._batch_size.slow_down()
            raise

    def _leave_to_be_claimed(self) -> list[Entry]:
        """Give back what a reply held that memory has no room for: claimed entries are fetched one by one."""
        self._batch_size.start_small()
        self._look_for_due_at = 0.0
        self._finish()
        self._give_back_unseen()
        log.info("long records came at once: they run one by one")
        return []

    def _read_ahead_of(self, entries: Sequence[Entry]) -> None:
        """Ask for more while `entries` run, if there is more, it does not wait long in here, and nothing is due."""
        has_more = len(entries) >= self._asked_for
        if has_more and self._batch_size.leaves_room(_READ_AHEAD_FOR_SECONDS) and not self._is_time_for_due:
            self._asked_for, self._ahead_since = self._batch_size.count, time.monotonic()
            with suppress(RedisError):  # the next read will meet it, and wait
                self._reader.read_ahead(self._asked_for)
        else:
            self._redis.call(self._reader.confirm)

    def _block(self) -> timedelta | None:
        if self._batch.is_committing:
            return None
        if self._until_empty:
            return _UNTIL_EMPTY_BLOCK
        until_due = timedelta(seconds=max(0.0, self._look_for_due_at - time.monotonic()))
        return min(self._queue.block, until_due) or None

    def _run(self, entries: Sequence[Entry], *, alone: bool) -> None:
        started = time.monotonic()
        for outcomes in self._batch.run(entries, alone=alone):
            self._settle(outcomes, retried=alone)
        if entries and not alone:
            size = sum(map(len, chain.from_iterable(entry.fields.values() for entry in entries)))
            self._batch_size.observe(len(entries), time.monotonic() - started, size)

    def _is_drained(self) -> bool:
        return self._group.is_drained(self._queue.legacy_lists)

    def _finish(self) -> None:
        """Settle what still commits, and wait until all that is settled is acknowledged."""
        for outcomes in self._batch.finish():
            self._settle(outcomes, retried=False)
        self._redis.call(self._reader.confirm)

    def _settle(self, outcomes: list[Outcome], *, retried: bool) -> None:
        self._release([outcome.entry.id for outcome in outcomes])
        self._redis.call(lambda: self._settlement.settle(outcomes, retried=retried))
        self._done += [outcome.verdict for outcome in outcomes].count(Verdict.DONE)

    def _without_missing_records(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries that hold a record; the others are settled."""
        if self._field.is_in_all(entries):
            return list(entries)
        ready = []
        for entry in entries:
            problem = self._field.problem(entry)
            if problem is None:
                ready.append(entry)
                continue
            self._release([entry.id])
            self._redis.call(lambda entry=entry, problem=problem: self._settle_missing(entry, problem))  # type: ignore[misc]  # bound at once
        return ready

    def _settle_missing(self, entry: Entry, problem: str) -> None:
        if entry.fields:
            self._settlement.bury_without_record(entry, problem)
        else:  # deleted from the stream since it was delivered
            self._group.acknowledge_retried([entry.id])

    def _hold(self, entries: Sequence[Claimed | Entry]) -> None:
        """Note what is ours from now on, and as what it is to be given back."""
        ids = [entry.id for entry in entries]
        self._holding.update(zip(ids, entries, strict=True))
        self._lease.hold(ids)

    def _release(self, entry_ids: Sequence[str]) -> None:
        """Note what is settled; first of all, so that it is not renewed afterwards."""
        self._lease.drop(entry_ids)
        for entry_id in entry_ids:
            self._holding.pop(entry_id, None)

    def _give_back_unseen(self) -> None:
        """Hand over what the server delivered in a reply that a lost connection swallowed: nobody has started it."""
        self._redis.call(self._reader.confirm)  # what is done is not held any more, and must not look unseen
        unseen = self._redis.call(lambda: self._group.unseen(self._holding, 10 * self._queue.batch_size))
        if unseen:
            self._redis.call(lambda: self._group.hand_over(map(_delivered_in_vain, unseen)))

    def _leave(self) -> None:
        """Hand over what was not started, at once and as if it had never been delivered here."""
        self._stop.set()  # so that nothing waits for Redis any more
        try:
            try:
                self._hand_over()
            except Interrupted as error:  # it may be no more than a connection that was cut, and a reply lost with it
                if _is_silent(error):
                    raise
                self._give_back_unseen()
                self._hand_over()
        except Interrupted as error:
            log.warning(
                "left without handing over: others take over after claim_idle", reason=first_line(error.__cause__)
            )

    def _give_back(self) -> None:
        """Hand over all that we hold, as if it had never been delivered here."""
        self._receive_last()
        self._redis.call(self._reader.confirm)
        if self._holding:
            self._redis.call(lambda: self._group.hand_over(map(_never_started, self._holding.values())))
            log.info("handed over to the other consumers", entries=len(self._holding))
        self._release(list(self._holding))

    def _hand_over(self) -> None:
        self._give_back()
        self._redis.call(self._group.leave)
        self._redis.call(self._name_lock.end)

    def _receive_last(self) -> None:
        """Hold what was asked for ahead, to hand it over; if its reply is lost, hand over what nobody has seen."""
        if not self._reader.is_ahead:
            return
        try:
            self._hold(self._reader.receive())
        except RedisError:
            self._give_back_unseen()


def _is_silent(error: Interrupted) -> bool:
    """Tell whether a server was waited for in vain that did not answer at all: another wait would be as long."""
    return isinstance(error.__cause__, RedisTimeoutError)


def _never_started(held: Claimed | Entry) -> Claimed:
    """Return what is held as it was before this worker had it: a new entry counts as delivered, a claimed one not."""
    return held if isinstance(held, Claimed) else Claimed(held.id, held.deliveries - 1, None)


def _delivered_in_vain(unseen: Claimed) -> Claimed:
    return unseen._replace(deliveries=max(0, unseen.deliveries - 1))


def _same_name(consumer: str) -> Predecessor:
    """Return who may have had this name before, when it is one that stays."""
    return Predecessor(consumer, "crashed", "it was killed or lost")
