"""New entries: read, and asked for ahead."""

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from redis.exceptions import RedisError

from streamfea.core.entry import Entry
from streamfea.observe.events import EntriesRead, LongRecordsCame, Observer
from streamfea.streams.connection.reply_limit import ReplyTooLongError
from streamfea.worker.batch_size import AdaptiveBatchSize
from streamfea.worker.handover import HandOver
from streamfea.worker.held import Held
from streamfea.worker.processing import Processing
from streamfea.worker.redis_side import RedisSide
from streamfea.worker.retries import Retries
from streamfea.worker.stopwatch import Stopwatch

__all__ = ["Intake"]

# Entries wait no longer in a worker that is busy, when another may be free.
_READ_AHEAD_FOR_SECONDS = 0.02


class Intake:
    """Reads new entries, holds them, and asks for the next ones before these run.

    `block` is how long a read waits for the first entry. Entries that were asked for ahead more than `renew_every`
    seconds ago may be another worker's by now.
    """

    def __init__(
        self,
        redis: RedisSide,
        processing: Processing,
        retries: Retries,
        handover: HandOver,
        held: Held,
        batch_size: AdaptiveBatchSize,
        observe: Observer,
        *,
        block: timedelta,
        renew_every: float,
    ) -> None:
        self._redis = redis
        self._queue = redis.group.ref.queue
        self._processing = processing
        self._retries = retries
        self._handover = handover
        self._held = held
        self._batch_size = batch_size
        self._observe = observe
        self._block_for = block
        self._renew_every = renew_every
        self._asked_for = 0
        self._asked_at = 0.0
        self._may_be_idle = False  # whether the last read may have waited for the first entry

    @property
    def is_ahead(self) -> bool:
        """Whether entries were asked for that are not received yet."""
        return self._redis.reader.is_ahead

    def next_entries(self) -> list[Entry]:
        """Return new entries, which are held from now on; none if there are none for a while."""
        outages, is_ahead = self._redis.outages, self.is_ahead
        self._may_be_idle, watch = False, Stopwatch()
        try:
            entries = self._redis.call(self._read)
        except ReplyTooLongError:
            entries = self._leave_to_be_claimed()
        self._held.add(entries)
        self._observe(EntriesRead(self._queue, len(entries), None if self._may_be_idle else watch.lap()))
        if self._redis.outages != outages:
            self._handover.give_back_unseen()
        if is_ahead and time.monotonic() - self._asked_at > self._renew_every:
            entries = self._redis.ours(entries)
        return entries

    def ask_ahead_of(self, entries: Sequence[Entry]) -> None:
        """Ask for more while `entries` run, if there is more, it does not wait long in here, and nothing is due."""
        has_more = len(entries) >= self._asked_for
        if has_more and self._batch_size.leaves_room(_READ_AHEAD_FOR_SECONDS) and self._retries.seconds_left > 0:
            self._asked_for, self._asked_at = self._batch_size.count, time.monotonic()
            with suppress(RedisError):  # the next read will meet it, and wait
                self._redis.reader.read_ahead(self._asked_for)
        else:
            self._redis.confirm()

    def _read(self) -> list[Entry]:
        reader = self._redis.reader
        try:
            if reader.is_ahead:
                return reader.receive()
            self._asked_for, block = self._batch_size.count, self._block()
            entries = reader.read(self._asked_for, block)
            self._may_be_idle = block is not None and len(entries) < self._asked_for
            return entries
        except ReplyTooLongError:
            raise
        except RedisError:
            # Before the next try: were the reply too long again, all that is new would be lost.
            self._batch_size.slow_down()
            raise

    def _block(self) -> timedelta | None:
        """Return how long to wait for the first entry; None for not at all."""
        if self._processing.is_committing:
            return None
        return min(self._block_for, timedelta(seconds=self._retries.seconds_left)) or None

    def _leave_to_be_claimed(self) -> list[Entry]:
        """Give back what a reply held that memory has no room for: claimed entries are fetched one by one."""
        self._batch_size.start_small()
        self._retries.look_now()
        self._processing.finish()
        self._handover.give_back_unseen()
        self._observe(LongRecordsCame(self._queue))
        return []
