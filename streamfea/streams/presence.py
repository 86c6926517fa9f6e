"""Who consumes under which name: a key of each consumer that expires soon after its process is gone."""

import os
import secrets
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from redis import Redis
from redis.exceptions import RedisError

from streamfea.durations import to_ms
from streamfea.settings import Queue
from streamfea.streams.faults import is_full
from streamfea.streams.keys import presence_key
from streamfea.streams.scripts import Scripts

__all__ = ["Holder", "Presence", "consumer_name"]

_LIFETIME = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that has a name; `token` tells it from a later one with the same process id."""

    host: str
    pid: int
    token: str

    @classmethod
    def here(cls) -> Self:
        """Return a new one for this process; handed down to a worker and its successors, they are all the same one."""
        return cls(socket.gethostname(), os.getpid(), secrets.token_hex(4))

    @classmethod
    def parse(cls, value: bytes | None) -> Self | None:
        """Return what `str()` made of one, None for anything else."""
        parts = value.decode("utf-8", "backslashreplace").split() if value else []
        if len(parts) != len(cls.__slots__) or not parts[1].isdecimal():
            return None
        return cls(parts[0], int(parts[1]), parts[2])

    def __str__(self) -> str:
        return f"{self.host} {self.pid} {self.token}"


class Presence:
    """The claim of `holder` to be the only process that consumes as `consumer`.

    It lasts ten seconds, unless it is renewed.
    """

    RENEW_EVERY_SECONDS = _LIFETIME.total_seconds() / 4

    def __init__(self, client: Redis, queue: Queue, consumer: str, holder: Holder) -> None:
        self._scripts = Scripts(client)
        self._key = presence_key(queue.stream, queue.group, consumer)
        self._holder = holder

    def renew(self) -> str | None:
        """Take the name, or keep it; return None, or which other process has it.

        A server that is full notes no names, but still knows who has one.
        """
        try:
            return self._hold(_LIFETIME)
        except RedisError as error:
            if is_full(error):
                return None
            raise

    def end(self) -> None:
        """Give the name back."""
        self._hold(timedelta(0))

    def _hold(self, lifetime: timedelta) -> str | None:
        reply = self._scripts.run("hold_name", [self._key], [str(self._holder), to_ms(lifetime)])
        if not reply:
            return None
        other = Holder.parse(reply)
        return f"process {other.pid} on {other.host}" if other else reply.decode("utf-8", "backslashreplace")


def consumer_name(name: str | None, number: int) -> str:
    """Return the name of worker `number` of a queue: one that stays, if the user gave a name, else a new one.

    A new name is never used twice: what is pending for it is known to be nobody's work any more once its process died.
    """
    return f"{name}-{number}" if name else f"{socket.gethostname()}-{os.getpid()}-{number}-{secrets.token_hex(2)}"
