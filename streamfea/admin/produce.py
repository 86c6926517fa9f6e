"""Adds the lines of a file to a stream, a record each."""

import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from streamfea.admin.job import Job
from streamfea.config.sections import Queue
from streamfea.errors import ConfigurationError, StreamfeaError
from streamfea.streams.connection.errors import reason_of, remedy_of

__all__ = ["LONGEST_RECORD", "Produce"]

LONGEST_RECORD = 512 * 1024 * 1024
"""The longest value that Redis takes, unless it is set otherwise (redis.conf, proto-max-bulk-len)."""

_AT_ONCE = 1000
_BYTES_AT_ONCE = 4 * 1024 * 1024

_Lines = list[tuple[int, bytes]]


class Produce(Job):
    """Adds each line that is not blank to a queue's stream, or pushes it to its legacy list, in order.

    With `rate` no more than so many records a second. Raises `StreamfeaError` that says how many are there when Redis
    fails or a line cannot be used, and `ConfigurationError` at once when the queue has no list.
    """

    doing = "producing"

    def __init__(
        self, client: Redis, queue: Queue, lines: Iterable[bytes], *, rate: float | None = None, to_list: bool = False
    ) -> None:
        if to_list and queue.legacy_list is None:
            remedy = f"set queues.{queue.name}.legacy_list, or leave out --list"
            raise ConfigurationError(f"queue {queue.name} has no list", remedy=remedy)
        self._client = client
        self._queue = queue
        self._lines = lines
        self._rate = rate
        self._to_list = to_list
        self.sent = 0
        """How many records Redis has taken."""

    def so_far(self) -> str:
        """Return how many records are there."""
        return f"{self.sent:,} records are {'in the list' if self._to_list else 'on the stream'}"

    def _steps(self) -> Iterator[int]:
        started = time.monotonic()
        at_once = _AT_ONCE if self._rate is None else max(1, min(_AT_ONCE, int(self._rate / 10)))
        for chunk in _chunks(self._numbered(), at_once):
            self._send(chunk)
            self.sent += len(chunk)
            yield len(chunk)
            if self._rate is not None:
                time.sleep(max(0.0, started + self.sent / self._rate - time.monotonic()))

    def _numbered(self) -> Iterator[tuple[int, bytes]]:
        """Yield each line that is not blank, and its number."""
        for number, line in enumerate(self._lines, 1):
            record = line.rstrip(b"\r\n")
            if len(record) > LONGEST_RECORD:
                raise StreamfeaError(
                    f"line {number} is longer than the {LONGEST_RECORD // 2**20} MiB that Redis takes in one value; "
                    f"{self.so_far()}",
                    remedy="split it, or store it elsewhere and send where it is",
                )
            if record:
                yield number, record

    def _send(self, chunk: _Lines) -> None:
        with self._client.pipeline(transaction=True) as pipeline:
            for number, line in chunk:
                if self._to_list:
                    pipeline.lpush(self._queue.legacy_list or "", line)
                else:
                    pipeline.xadd(self._queue.stream, self._fields(number, line))
            try:
                pipeline.execute()
            except RedisError as error:
                raise StreamfeaError(
                    f"Redis: {reason_of(error)}; {self.so_far()}, those from line {chunk[0][0]} on are not "
                    "(unless just the answer was lost)",
                    remedy=remedy_of(error),
                ) from error

    def _fields(self, number: int, line: bytes) -> dict[Any, Any]:
        """Return the fields of the entry for a line: the record, or with `*` the members of its JSON object."""
        if self._queue.field != "*":
            return {self._queue.field: line}
        before = f"{self.sent:,} records before it are on the stream"
        try:
            members = json.loads(line)
        except ValueError as error:
            raise StreamfeaError(f"line {number} is not JSON ({error}); {before}") from error
        if not isinstance(members, dict) or not members:
            raise StreamfeaError(f'line {number} is no JSON object with members, which field = "*" needs; {before}')
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in members.items()}


def _chunks(lines: Iterator[tuple[int, bytes]], size: int) -> Iterator[_Lines]:
    """Yield lines, at most `size` of them or some MiB at once."""
    chunk: _Lines = []
    length = 0
    for number, line in lines:
        chunk.append((number, line))
        length += len(line)
        if len(chunk) == size or length >= _BYTES_AT_ONCE:
            yield chunk
            chunk, length = [], 0
    if chunk:
        yield chunk
