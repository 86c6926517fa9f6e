"""One consumer's view of its group: claim, postpone, bury, hand over, leave; `reader.py` reads and acknowledges."""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import structlog
from redis import Redis
from redis.exceptions import ResponseError

from streamfea.core.durations import to_ms
from streamfea.core.entry import Entry
from streamfea.core.group_ref import GroupRef
from streamfea.streams.connection.errors import group_is_gone, is_full
from streamfea.streams.connection.keys import dead_letters_key, errors_key
from streamfea.streams.connection.names import name_of
from streamfea.streams.connection.scripts import Scripts
from streamfea.streams.consuming.last_error import LastError
from streamfea.streams.consuming.legacy_lists import legacy_backlog
from streamfea.streams.consuming.marks import Joined, join, mark_group

__all__ = ["Claimed", "GroupConsumer", "fields_from_pairs"]

log = structlog.get_logger(__name__)

# Where XAUTOCLAIM begins, and what it tells at the end.
_START = "0-0"
# Entries that one claim puts back because they are not due yet: some milliseconds.
_PUT_BACK_AT_MOST = 500
# Redis' Lua passes some 8,000 arguments to a command at most (LUAI_MAXCSTACK).
_MOST_FIELDS_OF_A_SCRIPT = 3_500


class Claimed(NamedTuple):
    """An entry taken over from another consumer or from an earlier try, not counted as delivered yet.

    `owner` is the consumer that had it before, where that is known.
    """

    id: str
    deliveries: int
    last_error: LastError | None
    owner: str = ""


class GroupConsumer:
    """The consumer `consumer` of the consumer group `ref`.

    An entry that nobody has touched for `claim_idle` may be claimed.

    Every method raises what redis-py raises when the server is away; `NOGROUP` is answered by creating the group
    again where the method says so.

    A group that was joined by `join()` works in the stream with that mark only: in any other, nothing is read, claimed
    or changed, as if the group were gone, until `join()` is called again. `must_join` tells that it has to be.
    """

    def __init__(self, client: Redis, ref: GroupRef, consumer: str, claim_idle: timedelta) -> None:
        self.ref = ref
        self.consumer = consumer
        self._client: Any = client  # redis-py leaves the types of replies open
        self.mark: int | None = None  # the mark of the joined stream; None without exactly-once
        self.must_join = False  # whether the stream or its mark is gone, so that it has to be joined again
        self.scripts = Scripts(client, lambda: mark_group(self.mark))
        self._stream = ref.stream
        self._dead = dead_letters_key(ref)
        self._errors = errors_key(ref)
        self.claim_idle = claim_idle
        self._claim_idle_ms = to_ms(claim_idle)
        self._cursor = _START  # where the next claim goes on in the pending entries list

    def create(self) -> bool:
        """Create the group at the stream's beginning, and the stream if need be; return whether that was needed.

        At the beginning, because a group that starts at the end loses what waits already.
        """
        try:
            self._client.xgroup_create(self._stream, self.ref.group, id="0", mkstream=True)
        except ResponseError as error:
            if str(error).startswith("BUSYGROUP") or (is_full(error) and self._exists()):
                return False
            raise
        # They belong to entries of the group that was here before; the new one delivers those afresh.
        self._client.delete(self._errors)
        return True

    def create_again(self) -> None:
        """Create a group that is gone, and log it. A group that was joined has to be joined again."""
        if self.mark is not None:
            self.must_join = True
        elif self.create():
            self._tell_created()

    def join(self, looked_up: tuple[str, int | None] = ("", None)) -> Joined:
        """Create the group unless it is there, and work in the stream that it is in; see `marks`."""
        joined = join(self._client, self.ref, looked_up)
        if joined.mark is not None:
            before, self.mark, self.must_join = self.mark, joined.mark, False
            if before not in (None, joined.mark):
                log.warning("the stream began anew: what it holds is new, whatever its ids", stream=self._stream)
            elif before is not None and joined.created:
                self._tell_created()
        return joined

    def _tell_created(self) -> None:
        log.warning("the group was gone and is created again", stream=self._stream, group=self.ref.group)

    def acknowledge_retried(self, entry_ids: Sequence[str]) -> None:
        """Acknowledge entries that may have a last error, and drop that with them."""
        self._run_unless_gone("acknowledge", [self._stream, self._errors], [self.ref.group, *entry_ids])

    def claim(self, count: int) -> list[Claimed]:
        """Take over up to `count` entries that are due: of consumers that are dead, or for another try.

        Goes on where the last call stopped, so that a long list of entries that are not due is walked through once.
        """
        arguments = [self.ref.group, self.consumer, self._claim_idle_ms, self._cursor, count, _PUT_BACK_AT_MOST]
        try:
            cursor, claimed = self.scripts.run("claim", [self._stream, self._errors], arguments)
        except ResponseError as error:
            if not group_is_gone(error):
                raise
            self.create_again()
            return []
        self._cursor = cursor.decode()
        return [_claimed(reply) for reply in claimed]

    @property
    def claim_finished(self) -> bool:
        """Whether the last `claim` has reached the end of the pending entries."""
        return self._cursor == _START

    def take_over(self, dead_consumer: str, count: int, after: str | None) -> tuple[list[Claimed], str | None]:
        """Take over up to `count` entries of a dead consumer, with ids above `after`.

        Returns them and the `after` of the next call; None when there is no more. `dead_consumer` may be this
        consumer's own name, which an earlier process had.
        """
        arguments = [self.ref.group, self.consumer, dead_consumer, count, f"({after}" if after else "-"]
        reply = self._run_unless_gone("take_over", [self._stream, self._errors], arguments)
        last, claimed = reply or (b"", [])
        return [_claimed(reply) for reply in claimed], last.decode() or None

    def deliver_alone(self, claimed: Claimed) -> Entry | None:
        """Count a delivery of a claimed entry and return it; None when it is deleted or not ours any more."""
        note = (claimed.last_error or LastError()).running_alone(self.consumer).to_json()
        arguments = [self.ref.group, self.consumer, claimed.id, note]
        try:
            reply = self.scripts.run("deliver_alone", [self._stream, self._errors], arguments)
        except ResponseError as error:
            if not group_is_gone(error):
                raise
            return None
        if reply is None or len(reply) == 1:
            return None
        deliveries, flat = reply
        return Entry(self.ref.queue, self._stream, claimed.id, fields_from_pairs(flat), deliveries)

    def postpone(self, failed: Sequence[tuple[str, LastError]], now_ms: int) -> list[bool]:
        """Keep the last errors of entries and have them claimed when those are due; return which were still ours."""
        return self._run_each_unless_gone(
            "postpone",
            [self._stream, self._errors],
            [
                [self.ref.group, self.consumer, entry_id, self._idle_ms(last_error, now_ms), last_error.to_json()]
                for entry_id, last_error in failed
            ],
        )

    def bury(self, dead: Sequence[tuple[Entry, Mapping[str, str | int]]]) -> list[bool]:
        """Move entries, each with all its fields and its provenance, to the dead letters.

        Returns which were still ours.
        """
        small: list[list[Any]] = []
        results: dict[str, bool] = {}
        for entry, provenance in dead:
            origin = [part for name, value in provenance.items() for part in (f"streamfea-{name}", value)]
            fields = [part for pair in entry.fields.items() for part in pair]
            if len(entry.fields) > _MOST_FIELDS_OF_A_SCRIPT:
                results[entry.id] = self._bury_without_script(entry.id, origin, fields)
            else:
                small.append([self.ref.group, self.consumer, entry.id, len(origin), *origin, *fields])
        buried = self._run_each_unless_gone("bury", [self._stream, self._dead, self._errors], small)
        results.update((arguments[2], was_ours) for arguments, was_ours in zip(small, buried, strict=True))
        return [results[entry.id] for entry, _ in dead]

    def _bury_without_script(self, entry_id: str, origin: list[Any], fields: list[bytes]) -> bool:
        """Bury an entry with more fields than Lua can pass on; our lease keeps others from claiming it meanwhile."""
        delivery = self._client.xpending_range(self._stream, self.ref.group, entry_id, entry_id, 1)
        if not delivery or name_of(delivery[0]["consumer"]) != self.consumer:
            return False
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.execute_command("XADD", self._dead, "*", *fields, *origin)
            pipeline.xack(self._stream, self.ref.group, entry_id)
            pipeline.hdel(self._errors, entry_id)
            letter_id, acknowledged, _ = pipeline.execute()
        if not acknowledged:  # somebody else has done so since
            self._client.xdel(self._dead, letter_id)
        return bool(acknowledged)

    def hand_over(self, held: Iterable[Claimed]) -> None:
        """Make entries available to the others at once, with the delivery counts and last errors as given."""
        self._undeliver(held, self._claim_idle_ms)

    def undeliver(self, claimed: Claimed) -> None:
        """Take back that an entry was delivered alone, and keep it: it did not get to run."""
        self._undeliver([claimed], 0)

    def _undeliver(self, held: Iterable[Claimed], idle_ms: int) -> None:
        arguments: list[Any] = [self.ref.group, self.consumer, idle_ms]
        for claimed in held:
            arguments += [claimed.id, claimed.deliveries, claimed.last_error.to_json() if claimed.last_error else ""]
        self._run_unless_gone("hand_over", [self._stream, self._errors], arguments)

    def renew(self, entry_ids: Collection[str]) -> set[str]:
        """Keep entries from being claimed by others; return those that are not ours any more."""
        arguments = [self.ref.group, self.consumer, *entry_ids]
        lost = self._run_unless_gone("renew", [self._stream], arguments)
        return {entry_id.decode() for entry_id in lost} if isinstance(lost, list) else set(entry_ids)

    def working_on(self, count: int) -> list[str]:
        """Return the ids of up to `count` entries that are pending for this consumer and do not wait for a retry."""
        return [
            claimed.id for claimed in self._own_pending(count) if claimed.last_error is None or claimed.last_error.alone
        ]

    def unseen(self, held: Container[str], count: int) -> list[Claimed]:
        """Return up to `count` entries that the server delivered to this consumer in replies that never arrived.

        `held` are those that did arrive; those that wait for a retry have a last error.
        """
        return [
            claimed for claimed in self._own_pending(count) if claimed.last_error is None and claimed.id not in held
        ]

    def is_drained(self, legacy_lists: Sequence[str] = ()) -> bool:
        """Tell whether nothing of the group is new, pending or waiting for a retry, nor in a list on its way here."""
        # The lists first: what leaves them afterwards is in the stream before that is looked at.
        if legacy_backlog(self._client, legacy_lists):
            return False
        try:
            if self._client.xpending(self._stream, self.ref.group)["pending"]:
                return False
            groups = self._client.xinfo_groups(self._stream)
        except ResponseError as error:
            if not group_is_gone(error) and "no such key" not in str(error):
                raise
            return True
        last = next(
            (info["last-delivered-id"].decode() for info in groups if info["name"] == self.ref.group.encode()),
            "0",
        )
        return not self._client.xrange(self._stream, f"({last}", "+", count=1)

    def leave(self) -> bool:
        """Remove this consumer from the group unless something is pending for it; return whether it is gone."""
        return self.forget(self.consumer)

    def forget(self, consumer: str) -> bool:
        """Remove `consumer` from the group unless something is pending for it; return whether it is gone."""
        gone = self._run_unless_gone("forget_consumer", [self._stream], [self.ref.group, 0, consumer])
        return bool(gone == [1])

    def now_ms(self) -> int:
        """Return milliseconds since the epoch on the server's clock, the one that all consumers share."""
        seconds, microseconds = self._client.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    def _own_pending(self, count: int) -> list[Claimed]:
        """Return up to `count` entries that are pending for this consumer; none when the group is gone."""
        try:
            pending = self._client.xpending_range(self._stream, self.ref.group, "-", "+", count, self.consumer)
        except ResponseError as error:
            if not group_is_gone(error):
                raise
            return []
        ids = [delivery["message_id"].decode() for delivery in pending]
        errors = self._client.hmget(self._errors, ids) if ids else []
        return [
            Claimed(entry_id, delivery["times_delivered"], LastError.from_json(error or b""))
            for entry_id, delivery, error in zip(ids, pending, errors, strict=True)
        ]

    def _exists(self) -> bool:
        try:
            return any(info["name"] == self.ref.group.encode() for info in self._client.xinfo_groups(self._stream))
        except ResponseError:
            return False

    def _run_unless_gone(self, name: str, keys: list[str], arguments: list[Any]) -> Any:
        """Return the script's reply; 0 when the group is gone, and with it whatever was pending."""
        try:
            return self.scripts.run(name, keys, arguments)
        except ResponseError as error:
            if not group_is_gone(error):
                raise
            return 0

    def _run_each_unless_gone(self, name: str, keys: list[str], arguments: list[list[Any]]) -> list[bool]:
        """Run a script once for each list of arguments, in one round trip; the replies as of `_run_unless_gone`."""
        replies = self.scripts.run_each(name, keys, arguments)
        for reply in replies:
            if isinstance(reply, Exception) and not (isinstance(reply, ResponseError) and group_is_gone(reply)):
                raise reply
        return [bool(reply) and not isinstance(reply, Exception) for reply in replies]

    def _idle_ms(self, last_error: LastError, now_ms: int) -> int:
        """Return the idle time with which an entry is claimed when its last error is due."""
        return max(0, self._claim_idle_ms - max(0, last_error.due_ms - now_ms))


def fields_from_pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return the fields of a reply that lists names and values in turn."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _claimed(reply: Sequence[Any]) -> Claimed:
    entry_id, deliveries, last_error, *owner = reply
    return Claimed(entry_id.decode(), deliveries, LastError.from_json(last_error), *map(name_of, owner))
