"""Gives back what a worker holds and has not started."""

from collections.abc import Callable
from typing import TypeVar

from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from streamfea.core.entry import Entry
from streamfea.database.connection.errors import could_not_connect
from streamfea.observe.events import EntriesGivenUp, EntriesHandedOver, HandOverFailed, Observer
from streamfea.streams.consuming.group import Claimed
from streamfea.worker.held import Held
from streamfea.worker.outage import Interrupted, first_line
from streamfea.worker.redis_side import RedisSide
from streamfea.worker.stop_signal import StopSignal

__all__ = ["HandOver", "is_silent"]

T = TypeVar("T")

# Longer than a restart of PostgreSQL takes as a rule, so that not everything changes hands then.
_HOLD_WITHOUT_CONNECTION_SECONDS = 5.0


class _OutOfReach(Exception):  # noqa: N818 - it says what happened to the wait, it is no error
    """PostgreSQL has let us in for none of what we hold, for so long that others shall have it."""


class HandOver:
    """Hands entries over to the group's other consumers, with the count of deliveries that they had."""

    def __init__(
        self, redis: RedisSide, held: Held, stop: StopSignal, observe: Observer, *, unseen_at_most: int
    ) -> None:
        self._redis = redis
        self._held = held
        self._stop = stop
        self._observe = observe
        self._queue = redis.group.ref.queue
        self._unseen_at_most = unseen_at_most

    def give_back_unseen(self) -> None:
        """Hand over what the server delivered in a reply that a lost connection swallowed: nobody has started it."""
        self._redis.confirm()  # what is done is not held any more, and must not look unseen
        unseen = self._redis.unseen(self._unseen_at_most)
        if unseen:
            self._redis.hand_over(map(_delivered_in_vain, unseen))

    def give_back(self) -> None:
        """Hand over all that we hold, as if it had never been delivered here."""
        self._receive_last()
        self._redis.confirm()
        entries = self._held.entries
        if entries:
            self._redis.hand_over(map(_never_started, entries))
            self._observe(EntriesHandedOver(self._queue, len(entries)))
        self._held.drop_all()

    def leave(self) -> None:
        """Hand over all, and leave the group; waits for nothing."""
        self._stop.set()  # so that nothing waits for Redis any more
        try:
            try:
                self._give_back_and_leave()
            except Interrupted as error:  # it may be no more than a connection that was cut, and a reply lost with it
                if is_silent(error):
                    raise
                self.give_back_unseen()
                self._give_back_and_leave()
        except Interrupted as error:
            self._observe(HandOverFailed(self._queue, first_line(error.__cause__)))

    def within_reach(self, work: Callable[[], T], look_around: Callable[[], object]) -> T | None:
        """Return what `work` returns; None if PostgreSQL let nobody in, after giving back all and `look_around()`."""
        try:
            return work()
        except _OutOfReach:
            self._observe(EntriesGivenUp(self._queue, len(self._held)))
            self.give_back()
            look_around()
            return None

    def hold_no_longer(self, error: BaseException, waiting_seconds: float) -> None:
        """End a wait for a connection while we hold what others, with a connection, could do."""
        waits = waiting_seconds > _HOLD_WITHOUT_CONNECTION_SECONDS
        if waits and self._held and not self._stop.is_set() and could_not_connect(error):
            raise _OutOfReach

    def _give_back_and_leave(self) -> None:
        self.give_back()
        self._redis.leave()

    def _receive_last(self) -> None:
        """Hold what was asked for ahead, to hand it over; if its reply is lost, hand over what nobody has seen."""
        if not self._redis.reader.is_ahead:
            return
        try:
            self._held.add(self._redis.reader.receive())
        except RedisError:
            self.give_back_unseen()


def is_silent(error: Interrupted) -> bool:
    """Tell whether a server was waited for in vain that did not answer at all: another wait would be as long."""
    return isinstance(error.__cause__, RedisTimeoutError)


def _never_started(held: Claimed | Entry) -> Claimed:
    """Return what is held as it was before this worker had it: a new entry counts as delivered, a claimed one not."""
    return held if isinstance(held, Claimed) else Claimed(held.id, held.deliveries - 1, None)


def _delivered_in_vain(unseen: Claimed) -> Claimed:
    return unseen._replace(deliveries=max(0, unseen.deliveries - 1))
