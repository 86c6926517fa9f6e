"""Acknowledges entries and reads the next ones in one round trip.

Nobody has to wait for the reply: it can be sent, and received when the records at hand have run.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from streamfea.core.durations import to_ms
from streamfea.core.entry import Entry
from streamfea.streams.connection.errors import group_is_gone
from streamfea.streams.connection.reply_limit import replies_up_to
from streamfea.streams.consuming.group import GroupConsumer, fields_from_pairs
from streamfea.streams.consuming.marks import mark_group

__all__ = ["Reader"]

# A reply may be longer than what was guessed from the records before it, but not many times as long.
_LONGEST_REPLY = 4
# The length of a reply's list of names and values.
_ONE_FIELD = 2


class Reader:
    """Reads new entries for a group's consumer, and acknowledges those that are done.

    Any method may raise redis-py's connection errors. Pending acknowledgements are kept and sent again. Several entries
    that are many times as long as `batch_bytes` raise `ReplyTooLongError`. Entries of a lost reply, or of one too long,
    stay pending; `GroupConsumer.unseen()` lists them. Another thread may call `catch_up()`.
    """

    def __init__(self, client: Redis, group: GroupConsumer, batch_bytes: int) -> None:
        self._client: Any = client  # redis-py leaves the types of replies open
        # For all uses of this client, which only this reader has.
        client.set_response_callback("XREADGROUP", _delivered)
        self._group = group
        self._ref = group.ref
        self._batch_bytes = batch_bytes
        self._lock = threading.RLock()
        self._connection: Any = None  # of the request that is under way
        self._arrived: list[Entry] = []  # taken in, and not yet returned by `receive()`
        self._failure: RedisError | None = None  # met while taking in, and raised by the next `receive()`
        self._waiting: list[str] = []  # ids to acknowledge with the next request
        self._sent: list[str] = []  # ids that the request under way acknowledges
        self._was_refused = False  # whether the server has refused that acknowledgement
        self._limit: int | None = None  # the longest reply that is received, in bytes

    def read(self, count: int, block: timedelta | None) -> list[Entry]:
        """Return up to `count` new entries, waiting up to `block` for the first; None does not wait.

        Creates the group when it, or its stream, is gone.
        """
        with self._lock:
            self._send(count, block)
            return self.receive()

    def read_ahead(self, count: int) -> None:
        """Ask for up to `count` new entries, to be received later, and before anything else is read."""
        with self._lock:
            self._send(count, None)

    @property
    def is_ahead(self) -> bool:
        """Whether something was asked for that is not received yet."""
        with self._lock:  # while another thread takes it in, it is in none of these
            return self._connection is not None or self._failure is not None or bool(self._arrived)

    def receive(self) -> list[Entry]:
        """Return the new entries that were asked for."""
        with self._lock:
            self._take_in()
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure
            if self._was_refused:
                self.confirm()
            entries, self._arrived = self._arrived, []
            return entries

    def acknowledge(self, entry_ids: Sequence[str]) -> None:
        """Acknowledge entries that were delivered for the first time, with the next request or `confirm()`."""
        with self._lock:
            self._waiting += entry_ids

    def confirm(self) -> None:
        """Send the waiting acknowledgements now."""
        with self._lock:
            if self._waiting:
                self._acknowledge(self._waiting)
            self._waiting = []
            self._was_refused = False

    def forget(self) -> None:
        """Drop the pending acknowledgements: their stream or group is gone."""
        with self._lock:
            self._waiting = []
            self._was_refused = False

    def catch_up(self, hold: Callable[[list[Entry]], object]) -> None:
        """Do the work of the next request, which may be late; `hold` gets the entries that have arrived.

        Waits for nothing: not for a reply that has not come, nor for another thread that does.
        """
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._has_something_to_read():
                self._take_in()
            hold(self._arrived)
            self.confirm()
        finally:
            self._lock.release()

    def _send(self, count: int, block: timedelta | None) -> None:
        pool = self._client.connection_pool
        connection = pool.get_connection()
        asked = [self._xreadgroup(count, block)]
        if self._group.mark is not None:
            asked.append(("XPENDING", self._ref.stream, mark_group(self._group.mark)))
        if self._waiting:
            asked.insert(0, self._xack(self._waiting))
        try:
            connection.send_packed_command(connection.pack_commands(asked))
        except BaseException:
            connection.disconnect()
            pool.release(connection)
            raise
        self._connection = connection
        self._sent, self._waiting = self._waiting, []
        self._limit = _LONGEST_REPLY * self._batch_bytes if count > 1 else None

    def _has_something_to_read(self) -> bool:
        try:
            return self._connection is not None and bool(self._connection.can_read())
        except RedisError:  # what is wrong, reading will tell
            return True

    def _take_in(self) -> None:
        if self._connection is None:
            return
        try:
            self._arrived = [*self._arrived, *self._receive()]
        except RedisError as error:
            self._failure = error

    def _receive(self) -> list[Entry]:
        """Return new entries. Acknowledgements that the server has refused wait again."""
        connection, self._connection = self._connection, None
        sent, self._sent = self._sent, []
        try:
            if sent and not self._has_acknowledged(connection):
                self._waiting += sent
                self._was_refused = True
            return self._entries(connection)
        except ResponseError as error:
            if not group_is_gone(error):
                raise
            self._group.create_again()
            return []
        except BaseException:
            connection.disconnect()
            self._waiting += sent
            raise
        finally:
            self._client.connection_pool.release(connection)

    def _has_acknowledged(self, connection: Any) -> bool:
        try:
            self._client.parse_response(connection, "XACK")
        except ResponseError:  # why, it will say again; the other reply is behind this one
            return False
        return True

    def _entries(self, connection: Any) -> list[Entry]:
        try:
            with replies_up_to(connection, self._limit):
                reply = self._client.parse_response(connection, "XREADGROUP")
        except ResponseError:
            with suppress(ResponseError):
                self._check_mark(connection)  # its reply is behind this one
            raise
        self._check_mark(connection)
        queue, stream = self._ref.queue, self._ref.stream
        return [Entry(queue, stream, entry_id, fields) for entry_id, fields in reply]

    def _check_mark(self, connection: Any) -> None:
        """Raise NOGROUP unless the reply is of the stream that the group has joined."""
        if self._group.mark is not None:
            self._client.parse_response(connection, "XPENDING")

    def _acknowledge(self, entry_ids: Sequence[str]) -> None:
        if self._group.mark is None:
            self._client.execute_command(*self._xack(entry_ids))
            return
        try:
            self._group.scripts.run("acknowledge_new", [self._ref.stream], [self._ref.group, *entry_ids])
        except ResponseError as error:
            if not group_is_gone(error):  # with what was pending
                raise

    def _xack(self, entry_ids: Sequence[str]) -> tuple[Any, ...]:
        if self._group.mark is None:
            return ("XACK", self._ref.stream, self._ref.group, *entry_ids)
        return self._group.scripts.command("acknowledge_new", [self._ref.stream], [self._ref.group, *entry_ids])

    def _xreadgroup(self, count: int, block: timedelta | None) -> tuple[Any, ...]:
        blocking = () if block is None else ("BLOCK", max(1, to_ms(block)))
        group = (self._ref.group, self._group.consumer)
        return ("XREADGROUP", "GROUP", *group, "COUNT", count, *blocking, "STREAMS", self._ref.stream, ">")


def _delivered(reply: Sequence[Any] | None, **_options: Any) -> list[tuple[str, dict[bytes, bytes]]]:
    """Return the ids and fields in a reply to XREADGROUP on one stream; entries that are deleted have no fields.

    In place of redis-py's own reading of it, which takes three times as long for entries of one field.
    """
    return [
        (entry_id.decode(), {flat[0]: flat[1]} if flat and len(flat) == _ONE_FIELD else fields_from_pairs(flat or ()))
        for _, entries in reply or ()
        for entry_id, flat in entries
    ]
