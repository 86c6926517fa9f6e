"""Entries that were delivered before: due again, or left by a worker that is dead.

They run alone: each may be what killed its worker.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from streamfea.observe.events import EntriesClaimed, Observer
from streamfea.streams.consuming.group import Claimed
from streamfea.worker.batch_size import AdaptiveBatchSize
from streamfea.worker.held import Held
from streamfea.worker.postgresql_side import PostgreSQLSide
from streamfea.worker.processing import Processing
from streamfea.worker.redis_side import RedisSide
from streamfea.worker.settlement import Reason
from streamfea.worker.stop_signal import StopSignal
from streamfea.worker.transaction import WorldFaultError

__all__ = ["Predecessor", "Retries"]

_CLAIM_AT_MOST = 100


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The worker process that this one replaces: its consumer name, how it died, and the entry whose record ran then.

    `ran` is empty when no record ran, and None when nobody knows.
    """

    consumer: str
    reason: Reason
    how: str
    ran: str | None = None


class Retries:
    """Claims entries every `look_every` seconds, and runs them one by one."""

    def __init__(
        self,
        redis: RedisSide,
        postgresql: PostgreSQLSide,
        processing: Processing,
        held: Held,
        batch_size: AdaptiveBatchSize,
        stop: StopSignal,
        observe: Observer,
        *,
        look_every: float,
        max_deliveries: int,
    ) -> None:
        self._redis = redis
        self._postgresql = postgresql
        self._processing = processing
        self._held = held
        self._batch_size = batch_size
        self._stop = stop
        self._observe = observe
        self._look_every = look_every
        self._max_deliveries = max_deliveries
        self._look_at = 0.0

    @property
    def seconds_left(self) -> float:
        """How long it is until the next look; 0 if it is time."""
        return max(0.0, self._look_at - time.monotonic())

    def look_now(self) -> None:
        """Look the next time, however long ago the last look was."""
        self._look_at = 0.0

    def work_on_due(self) -> bool:
        """Run what is due, if it is time to look; return whether there was anything, or may be more."""
        if self.seconds_left > 0:
            return False
        claimed = self._redis.claim(min(_CLAIM_AT_MOST, self._batch_size.count))
        is_finished = self._redis.group.claim_finished
        if is_finished:
            self._look_at = time.monotonic() + self._look_every
        self._hold(claimed)
        # The owner of an entry that waits for its retry may well be alive.
        owners = {entry.owner for entry in claimed if entry.last_error is None or entry.last_error.alone}
        self._postgresql.end_transactions(owners - {self._redis.group.consumer})
        self._run_each(claimed, None)
        return bool(claimed) or not is_finished

    def succeed(self, dead: Predecessor) -> None:
        """Take over what a worker that this one replaces has left, without waiting for `claim_idle`."""
        after: str | None = None
        while not self._stop.is_set():
            claimed, after = self._redis.take_over(dead.consumer, _CLAIM_AT_MOST, after)
            self._hold(claimed)
            if claimed:  # it may be stopped, not dead
                self._postgresql.end_transactions({dead.consumer})
            self._run_each(claimed, dead)
            if after is None:
                break
        if dead.consumer != self._redis.group.consumer:
            self._redis.forget(dead.consumer)

    def _hold(self, claimed: Sequence[Claimed]) -> None:
        self._held.add(claimed)
        if claimed:
            owners = sorted({entry.owner for entry in claimed})
            due = sum(entry.last_error is not None for entry in claimed)
            self._observe(EntriesClaimed(self._redis.group.ref.queue, len(claimed), due, owners))

    def _run_each(self, claimed: Sequence[Claimed], dead: Predecessor | None) -> None:
        """Run claimed entries one by one; those in whose own run a process died wait, or are buried, instead."""
        if claimed:
            self._processing.finish()
        for entry in claimed:
            if self._stop.is_set():
                return
            if self._was_its_death(entry, dead):
                self._settle_death(entry, dead)
            else:
                self._postgresql.retry.call(partial(self._run, entry))

    def _was_its_death(self, claimed: Claimed, dead: Predecessor | None) -> bool:
        """Tell whether the process that had this entry died of it.

        The note that it ran alone can be out of date, when Redis has lost what came after it. But an entry that was
        given one more chance than `max_deliveries` allows has had its benefit of the doubt.
        """
        if claimed.last_error is None or not claimed.last_error.alone:
            return False
        ran = None if dead is None else dead.ran
        return ran in (None, claimed.id) or claimed.deliveries > self._max_deliveries

    def _run(self, claimed: Claimed) -> None:
        """Count a delivery, and run the entry; raise `WorldFaultError` when PostgreSQL is away.

        Then the delivery is taken back, because a successor treats an entry that is marked as running alone as the
        cause of the crash.
        """
        entry = self._redis.deliver_alone(claimed)
        if entry is None:
            self._held.drop([claimed.id])
            return
        try:
            self._processing.run_alone(entry)
        except WorldFaultError:
            self._redis.undeliver(claimed)
            raise

    def _settle_death(self, claimed: Claimed, dead: Predecessor | None) -> None:
        is_done = self._postgresql.is_done(claimed.id)
        self._held.drop([claimed.id])
        if is_done:  # it died after its COMMIT
            self._redis.acknowledge_retried([claimed.id])
        else:
            reason: Reason = dead.reason if dead else "crashed"
            self._redis.settle_death(claimed, reason, dead.how if dead else "it was killed or lost")
