"""Locks a consumer's name by a key that expires soon after its process is gone."""

import os
import re
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Self

from redis import Redis
from redis.exceptions import RedisError

from streamfea.core.durations import to_ms
from streamfea.core.group_ref import GroupRef
from streamfea.core.origin import namespace, own_start, still_runs
from streamfea.streams.connection.errors import is_full
from streamfea.streams.connection.keys import name_lock_key
from streamfea.streams.connection.scripts import Scripts

__all__ = ["NameHolder", "NameLock", "Running", "consumer_name"]

_LIFETIME = timedelta(seconds=10)
# Versions before wrote three words.
_HOLDER = re.compile(r"(\S+) (\d+) (\S+)(?: ([0-9a-f]+(?:\.[0-9a-f]+)?|-))?(?: (\d+-\d+) (\d+))?")
# The last part of a name: four random digits, eight for the namespace, and when the process was started.
_PROCESS = re.compile(r"[0-9a-f]{4}([0-9a-f]{8})([0-9a-f]+)")
_PARTS_AFTER_HOST = 3


@dataclass(frozen=True, slots=True)
class Running:
    """The record that a process runs: its entry's id, and since when, in ms since the epoch on Redis' clock."""

    entry_id: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class NameHolder:
    """The process that has a name, and what it runs.

    `token` is handed down to all that replace one another under the name: they are the same holder. `namespace` and
    `started` tell where `pid` means this process; empty where that is not known (see `streamfea.core.origin`).
    """

    host: str
    pid: int
    token: str
    namespace: str = ""
    running: Running | None = None
    started: str = ""

    @classmethod
    def here(cls) -> Self:
        """Return a new one for this process."""
        return cls(socket.gethostname(), os.getpid(), secrets.token_hex(4), namespace(), started=own_start())

    def in_this_process(self) -> Self:
        """Return the same for the process that calls this."""
        return replace(self, pid=os.getpid(), started=own_start())

    @classmethod
    def parse(cls, value: bytes | None) -> Self | None:
        """Parse the text that `str()` makes; return None for any other text."""
        match = _HOLDER.fullmatch(value.decode("utf-8", "backslashreplace")) if value else None
        if match is None:
            return None
        host, pid, token, place, entry_id, since_ms = match.groups()
        where, _, started = (place or "").strip("-").partition(".")
        running = Running(entry_id, int(since_ms)) if entry_id else None
        return cls(host, int(pid), token, where, running, started)

    @classmethod
    def named(cls, consumer: str) -> Self | None:
        """Return the supervisor for which `consumer_name()` made a name; None for any other name."""
        host, *parts = consumer.rsplit("-", _PARTS_AFTER_HOST)
        if len(parts) < _PARTS_AFTER_HOST or not parts[0].isdecimal() or not parts[1].isdecimal():
            return None
        process = _PROCESS.fullmatch(parts[2])
        where, started = process.groups() if process else ("", "")
        return cls(host, int(parts[0]), "", where, started=started)

    def __str__(self) -> str:
        place = f"{self.namespace}.{self.started}" if self.started else self.namespace or "-"
        words = [self.host, str(self.pid), self.token, place]
        if self.running is not None:
            words += [self.running.entry_id, str(self.running.since_ms)]
        return " ".join(words)

    @property
    def has_ended(self) -> bool:
        """Whether it certainly has: only a process of this pid namespace can be looked for."""
        return bool(self.started) and self.namespace == namespace() and not still_runs(self.pid, self.started)


class NameLock:
    """The lock on a name: `holder` alone may consume as `consumer`.

    It lasts ten seconds, unless it is renewed. Each renewal notes what `running` tells: which entry's record runs, and
    for how many seconds it has.
    """

    RENEW_EVERY_SECONDS = _LIFETIME.total_seconds() / 4

    LIFETIME = _LIFETIME

    def __init__(
        self,
        client: Redis,
        ref: GroupRef,
        consumer: str,
        holder: NameHolder,
        running: Callable[[], tuple[str, float] | None] = lambda: None,
    ) -> None:
        self._scripts = Scripts(client)
        self._key = name_lock_key(ref, consumer)
        self._holder = holder
        self._running = running

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
        arguments: list[str | int] = [self._holder.token, to_ms(lifetime), str(self._holder)]
        running = self._running()
        if running is not None:
            arguments += [running[0], int(1000 * running[1])]
        reply = self._scripts.run("hold_name", [self._key], arguments)
        if not reply:
            return None
        other = NameHolder.parse(reply)
        return f"process {other.pid} on {other.host}" if other else reply.decode("utf-8", "backslashreplace")


def consumer_name(name: str | None, number: int) -> str:
    """Return the name of worker `number` of a queue: one that stays, if the user gave a name, else a new one.

    A new name is never used twice. Once its process has died, nobody works on the entries that are pending for it.
    """
    if name:
        return f"{name}-{number}"
    process = f"{secrets.token_hex(2)}{namespace()}{own_start()}"
    return f"{socket.gethostname()}-{os.getpid()}-{number}-{process}"
