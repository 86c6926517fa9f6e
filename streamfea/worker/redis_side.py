"""What the loop asks of Redis: each call waits while the server is away."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from redis.exceptions import RedisError

from streamfea.core.entry import Entry
from streamfea.streams.consuming.group import Claimed, GroupConsumer
from streamfea.streams.consuming.name_lock import NameLock
from streamfea.streams.consuming.reader import Reader
from streamfea.worker.held import Held
from streamfea.worker.janitor import Janitor
from streamfea.worker.lease import Lease
from streamfea.worker.outage import OutageRetry
from streamfea.worker.policy import Outcome
from streamfea.worker.settlement import Reason, Settlement

__all__ = ["RedisSide"]

T = TypeVar("T")


class RedisSide:
    """A worker's group, reader, name, lease and settlement, behind one patience.

    Each method may raise `Interrupted`, when the worker is to stop while the server is away, and redis-py's errors that
    are no outage.
    """

    def __init__(
        self,
        group: GroupConsumer,
        reader: Reader,
        name_lock: NameLock,
        janitor: Janitor,
        lease: Lease,
        settlement: Settlement,
        held: Held,
        retry: OutageRetry,
    ) -> None:
        self.group = group
        self.reader = reader
        self.retry = retry
        self._name_lock = name_lock
        self._janitor = janitor
        self._lease = lease
        self._settlement = settlement
        self._held = held

    @property
    def outages(self) -> int:
        """How often the server has been away."""
        return self.retry.outages

    def call(self, function: Callable[[], T]) -> T:
        """Return the result of `function`, which asks the server something."""
        return self.retry.call(function)

    # Entries

    def claim(self, count: int) -> list[Claimed]:
        """Return up to `count` entries that are due, or that a dead consumer has left."""
        return self.call(partial(self.group.claim, count))

    def take_over(self, dead_consumer: str, count: int, after: str | None) -> tuple[list[Claimed], str | None]:
        """Return entries of `dead_consumer` after the id `after`, and the id to go on after, if any are left."""
        return self.call(partial(self.group.take_over, dead_consumer, count, after))

    def deliver_alone(self, claimed: Claimed) -> Entry | None:
        """Count a delivery of a claimed entry, note that it runs alone, and return it; None if it is gone."""
        return self.call(partial(self.group.deliver_alone, claimed))

    def undeliver(self, claimed: Claimed) -> None:
        """Take a delivery back."""
        self.call(partial(self.group.undeliver, claimed))

    def ours(self, entries: Sequence[Entry]) -> list[Entry]:
        """Renew all that is held, and return those of these entries that no other worker has claimed meanwhile."""
        lost = self.call(self._lease.renew)
        self._held.drop(entry.id for entry in entries if entry.id in lost)
        return [entry for entry in entries if entry.id not in lost]

    def unseen(self, count: int) -> list[Claimed]:
        """Return up to `count` entries that the server has delivered to us, and that we do not know of."""
        return self.call(partial(self.group.unseen, self._held, count))

    def hand_over(self, entries: Iterable[Claimed]) -> None:
        """Give entries back, available to others at once."""
        self.call(partial(self.group.hand_over, list(entries)))

    # What became of them

    def settle(self, outcomes: Sequence[Outcome], *, retried: bool) -> None:
        """Acknowledge, postpone or bury; `retried` entries may have a last error that goes with them."""
        self.call(partial(self._settlement.settle, outcomes, retried=retried))

    def settle_death(self, claimed: Claimed, reason: Reason, how: str) -> None:
        """Postpone or bury an entry in whose own run the process died."""
        self.call(partial(self._settlement.settle_death, claimed, reason, how))

    def settle_missing(self, entry: Entry, problem: str) -> None:
        """Bury an entry without a record; acknowledge one that was deleted from the stream since its delivery."""
        if entry.fields:
            self.call(partial(self._settlement.bury_without_record, entry, problem))
        else:
            self.acknowledge_retried([entry.id])

    def acknowledge_retried(self, entry_ids: Sequence[str]) -> None:
        """Acknowledge entries, and drop their last errors."""
        self.call(partial(self.group.acknowledge_retried, entry_ids))

    def confirm(self) -> None:
        """Acknowledge now what waits for that."""
        self.call(self.reader.confirm)

    def confirm_at_once(self) -> None:
        """Acknowledge what waits for that if the server answers: a successor would do it again otherwise."""
        try:
            self.reader.confirm()
        except RedisError:
            return

    # The name, the group, the stream

    def name_holder(self) -> str | None:
        """Take or renew the consumer's name; return the other process that has it."""
        return self.call(self._name_lock.renew)

    def is_drained(self, legacy_lists: Sequence[str]) -> bool:
        """Tell whether the group has nothing left to do."""
        return self.call(partial(self.group.is_drained, legacy_lists))

    def forget(self, consumer: str) -> None:
        """Remove a consumer from the group, if nothing is pending for it."""
        self.call(partial(self.group.forget, consumer))

    def leave(self) -> None:
        """Leave the group if nothing is pending for us, and give up the name."""
        self.call(self.group.leave)
        self.call(self._name_lock.end)

    def tidy(self) -> None:
        """Tidy up for a moment, if it is our turn."""
        self.call(self._janitor.tidy)

    def tidy_all(self) -> None:
        """Remove all that the queue's retention lets go."""
        self.call(self._janitor.finish)
