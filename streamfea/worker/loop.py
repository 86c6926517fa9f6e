"""The loop of one consumer: claim what is due, read what is new, run it, settle it."""

import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from streamfea.core.entry import Entry
from streamfea.core.record_field import RecordField
from streamfea.database.exactly_once.ledger import Ledger
from streamfea.database.session.session import Sessions
from streamfea.handlers.loading import Handler
from streamfea.observe.events import HandOverFailed, NameTaken, Observer, WorkerStarted, WorkerStopped, all_of
from streamfea.observe.log_observer import LogObserver
from streamfea.streams.connection.errors import is_outage
from streamfea.streams.consuming.group import GroupConsumer
from streamfea.streams.consuming.name_lock import NameLock
from streamfea.streams.consuming.reader import Reader
from streamfea.worker.batch_size import AdaptiveBatchSize
from streamfea.worker.commits import group_commit
from streamfea.worker.handover import HandOver, is_silent
from streamfea.worker.held import Held
from streamfea.worker.intake import Intake
from streamfea.worker.janitor import Janitor
from streamfea.worker.joining import joining
from streamfea.worker.lease import Lease
from streamfea.worker.monitor import RunMonitor
from streamfea.worker.outage import Interrupted, OutageRetry
from streamfea.worker.postgresql_side import PostgreSQLSide
from streamfea.worker.process_guard import take_back_signals
from streamfea.worker.processing import Processing
from streamfea.worker.redis_side import RedisSide
from streamfea.worker.retries import Predecessor, Retries
from streamfea.worker.settlement import Settlement
from streamfea.worker.stop_signal import StopSignal
from streamfea.worker.transaction import is_away

__all__ = ["Worker"]

_LOOK_FOR_DUE_EVERY = timedelta(seconds=1)
_UNTIL_EMPTY_BLOCK = timedelta(milliseconds=100)
_ASK_FOR_NAME_EVERY_SECONDS = 0.5


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
        observers: Sequence[Observer] = (),
    ) -> None:
        queue = handler.queue
        self._queue = queue
        self._consumer = group.consumer
        self._stop = stop
        self._until_empty = until_empty
        self._predecessors = predecessors or [_same_name(group.consumer)]
        self._observe = observe = all_of([LogObserver(), *observers])
        held = Held()
        self._lease = Lease(group, name_lock, monitor or RunMonitor(), held, observe, lambda: reader.catch_up(held.add))
        settlement = Settlement(group, reader.acknowledge, queue.max_deliveries, queue.backoff, observe)
        redis_retry = OutageRetry("Redis", is_outage, stop, janitor.make_room, queue=queue.name, observe=observe)
        self._redis = RedisSide(group, reader, name_lock, janitor, self._lease, settlement, held, redis_retry)
        self._handover = HandOver(self._redis, held, stop, observe, unseen_at_most=10 * queue.batch_size)
        postgresql_retry = OutageRetry(
            "PostgreSQL", is_away, stop, self._hold_no_longer, queue=queue.name, observe=observe
        )
        self._postgresql = PostgreSQLSide(sessions, queue.ref, ledger, postgresql_retry, observe)
        self._join = joining(group, ledger, sessions, self._redis.retry, self._postgresql.retry)
        self._pipeline = group_commit(
            handler,
            sessions,
            stop,
            monitor=monitor,
            log_records=log_records,
            ledger=ledger,
            ours=self._ours_after_outage,
            overlap=True,
            outage_retry=self._postgresql.retry,
            observe=observe,
        )
        self._held = held
        self._set_up(AdaptiveBatchSize(queue.commit_interval, queue.batch_size, queue.batch_bytes))

    def _set_up(self, batch_size: AdaptiveBatchSize) -> None:
        """Set up the parts that the loop gives work to."""
        queue = self._queue
        self._processing = Processing(
            self._pipeline, self._redis, self._held, RecordField(queue.field), batch_size, self._observe
        )
        self._retries = Retries(
            self._redis,
            self._postgresql,
            self._processing,
            self._held,
            batch_size,
            self._stop,
            self._observe,
            look_every=min(_LOOK_FOR_DUE_EVERY, queue.backoff, queue.claim_idle).total_seconds(),
            max_deliveries=queue.max_deliveries,
        )
        self._intake = Intake(
            self._redis,
            self._processing,
            self._retries,
            self._handover,
            self._held,
            batch_size,
            self._observe,
            block=_UNTIL_EMPTY_BLOCK if self._until_empty else queue.block,
            renew_every=self._lease.every_seconds,
        )

    def run(self) -> None:
        """Work until told to stop, then give back what was not started and leave the group."""
        started = time.monotonic()
        try:
            self._begin()
            while not self._stop.is_set() and self._go_round():
                pass
            self._processing.finish()
        except Interrupted as error:
            self._end(silent=is_silent(error))
        except BaseException:
            self._redis.confirm_at_once()
            self._lease.end()
            raise
        else:
            self._end(silent=False)
        self._observe(WorkerStopped(self._queue.name, self._processing.done, time.monotonic() - started))

    def _begin(self) -> None:
        """Join the group, take the name, and take over what predecessors have left."""
        self._join()
        self._take_name()
        self._look_around()
        self._lease.start()
        self._observe(WorkerStarted(self._queue.name, self._queue.stream, self._consumer))
        for dead in self._predecessors:
            self._handover.within_reach(partial(self._retries.succeed, dead), self._look_around)

    def _go_round(self) -> bool:
        """Go round the loop once; return whether there is, or may be, more to do."""
        take_back_signals()
        if self._redis.group.must_join and not self._intake.is_ahead:
            self._join_again()
        worked = self._handover.within_reach(self._work, self._look_around)
        self._redis.tidy()
        if self._until_empty and not worked and self._redis.is_drained(self._queue.legacy_lists):
            self._redis.tidy_all()
            return False
        return True

    def _work(self) -> bool:
        """Run what is due, then what is new; return whether there was anything."""
        worked = not self._intake.is_ahead and self._retries.work_on_due()
        entries = self._intake.next_entries()
        if entries:
            self._intake.ask_ahead_of(entries)
            self._processing.run(entries)
        else:
            self._processing.finish()
        return worked or bool(entries)

    def _end(self, *, silent: bool) -> None:
        """Give back what was not started, and leave; a server that is `silent` is asked nothing more."""
        self._lease.end()
        if silent:
            self._observe(HandOverFailed(self._queue.name, None))
        else:
            self._handover.leave()

    def _join_again(self) -> None:
        """Finish what was read from a stream, or a group, that is gone, and go on in the one that took its place."""
        self._processing.finish()
        self._redis.reader.forget()
        self._held.drop_all()
        self._join()
        self._handover.give_back_unseen()  # what was read without knowing whose it was

    def _take_name(self) -> None:
        """Wait until no other process consumes under this consumer's name."""
        other = self._redis.name_holder()
        if other is not None:
            self._observe(NameTaken(self._queue.name, self._consumer, other))
        while other is not None:
            if self._stop.wait(_ASK_FOR_NAME_EVERY_SECONDS):
                raise Interrupted("stopped while waiting for a name")
            other = self._redis.name_holder()

    def _look_around(self) -> None:
        """Note what PostgreSQL lets us do; waits until it lets us in."""
        self._postgresql.retry.call(self._pipeline.look_around)

    def _hold_no_longer(self, error: BaseException) -> None:
        self._handover.hold_no_longer(error, self._postgresql.retry.waiting_seconds)

    def _ours_after_outage(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return those of these entries that nobody has taken over while PostgreSQL was away."""
        self._postgresql.end_transactions_at_once(self._consumer)
        return self._redis.ours(entries)


def _same_name(consumer: str) -> Predecessor:
    """Return who may have had this name before, when it is one that stays."""
    return Predecessor(consumer, "crashed", "it was killed or lost")
