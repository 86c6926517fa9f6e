"""Removes acknowledged entries, dead consumers and old rows of the ledger.

Part of the worker's loop, between two batches, in slices that take the server about a millisecond each.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import structlog
from redis import Redis
from redis.exceptions import RedisError

from streamfea.config.retention import Retention
from streamfea.core.durations import to_ms
from streamfea.core.group_ref import GroupRef
from streamfea.streams.connection.errors import is_full
from streamfea.streams.connection.keys import janitor_key
from streamfea.streams.consuming.leftovers import Sweeper
from streamfea.streams.consuming.trim import Trimmer, first_id
from streamfea.streams.operating.members import forget_all_idle, members

__all__ = ["Janitor"]

log = structlog.get_logger(__name__)

_EVERY_SECONDS = 1.0
_LOOK_BETWEEN_EVERY_SECONDS = 10.0
_FORGET_EVERY_SECONDS = 60.0
_PRUNE_EVERY_SECONDS = 30.0
_SWEEP_EVERY_SECONDS = 10.0
# How long a turn may keep the worker from its next batch; what is left is the next turn's.
_TURN_SECONDS = 0.03
# As many as a turn may take, with thousands of others in the group.
_FORGET_AT_ONCE = 200
# A live worker is heard of every second or holds something; should it be forgotten, its next read brings it back.
_FORGET_AFTER = timedelta(hours=1)


class Janitor:
    """Applies the `retention` and forgets dead consumers; of a group's workers, one at a time does it.

    The lock is the turn: the worker that gets it tidies up once, and the lock expires when the next turn is due. If two
    turns overlap all the same, nothing is lost: every step is atomic by itself.

    `prune_ledger` is given the oldest id that the stream still knows; it returns whether it is to be called again soon.
    """

    def __init__(
        self,
        client: Redis,
        ref: GroupRef,
        retention: Retention,
        consumer: str,
        *,
        forget_after: timedelta = _FORGET_AFTER,
        prune_ledger: Callable[[str], bool] | None = None,
    ) -> None:
        self._client = client
        self._ref = ref
        self._retention = retention
        self._consumer = consumer
        self._forget_after = forget_after
        self._prune_ledger = prune_ledger
        self._trimmer = Trimmer(client, ref, retention)
        self._sweeper = Sweeper(client, ref)
        self._key = janitor_key(ref)
        # Times of the monotonic clock, in seconds: nothing is due before them.
        self._turn_at = 0.0  # the next turn
        self._between_at = 0.0  # the next look behind entries that stay pending
        self._forget_at = 0.0  # the next look for dead consumers
        self._dead: list[str] = []  # dead consumers that are still to be removed
        self._sweep_at = 0.0  # the next look through the errors hash
        self._prune_at = 0.0  # the next pruning of the ledger

    def tidy(self) -> None:
        """Tidy up for a moment if it is time to and nobody else does."""
        now = time.monotonic()
        if now < self._turn_at:
            return
        self._turn_at = now + _EVERY_SECONDS
        if not self._takes_turn():
            return
        if self._retention.removes:
            self._trim_until(now + _TURN_SECONDS)
        if now >= self._sweep_at and self._sweeper.sweep():
            self._sweep_at = now + _SWEEP_EVERY_SECONDS
        if now >= self._forget_at:
            self._forget_at = now + _FORGET_EVERY_SECONDS
            self._look_for_dead()
        self._forget_some()
        if now >= self._prune_at and self._prune_ledger is not None:
            first = first_id(self._client, self._ref.stream)
            more = first is not None and self._prune_ledger(first)
            self._prune_at = now if more else now + _PRUNE_EVERY_SECONDS

    def make_room(self, error: BaseException) -> None:
        """Trim now if `error` says that the server is full."""
        if is_full(error):
            with suppress(RedisError):
                self.finish()

    def finish(self) -> None:
        """Remove all that the retention lets go, however long that takes."""
        if self._retention.removes:
            for _ in self._trimmer.trim_all():
                pass

    def _takes_turn(self) -> bool:
        turn_ms = to_ms(timedelta(seconds=_EVERY_SECONDS))
        try:
            return bool(self._client.set(self._key, self._consumer, nx=True, px=turn_ms))
        except RedisError as error:
            if is_full(error):
                return True  # it takes no lock, and what is to be removed is what it needs
            raise

    def _trim_until(self, deadline: float) -> None:
        while self._trimmer.trim():
            if time.monotonic() >= deadline:
                return
        if time.monotonic() < self._between_at and self._trimmer.between_finished:
            return
        self._trimmer.trim_between()
        while not self._trimmer.between_finished and time.monotonic() < deadline:
            self._trimmer.trim_between()
        if self._trimmer.between_finished:
            self._between_at = time.monotonic() + _LOOK_BETWEEN_EVERY_SECONDS

    def _look_for_dead(self) -> None:
        self._dead = [
            member.name
            for member in members(self._client, self._ref)
            if not member.pending and member.idle_ms >= to_ms(self._forget_after) and member.name != self._consumer
        ]

    def _forget_some(self) -> None:
        """Forget a few of the consumers that were found dead: thousands at once would hold up the worker."""
        some, self._dead = self._dead[:_FORGET_AT_ONCE], self._dead[_FORGET_AT_ONCE:]
        for name, gone in zip(some, forget_all_idle(self._client, self._ref, some, self._forget_after), strict=True):
            if gone:
                log.info("forgot a consumer that is gone", consumer=name)
