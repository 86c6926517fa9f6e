"""Who puts records in: new producers onto the stream, old ones onto the list; and another group that reads along."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from tests.machine.history import History, now_ms
from tests.machine.records import KINDS, Kind, fields_of, number_of

__all__ = ["AUDIT", "LIST", "STREAM", "Auditor", "OldProducer", "Producer"]

STREAM = "load"
LIST = "old"
AUDIT = "audit"

_AT_ONCE = 10
_FIRST_PUSHED = 1_000_000_000
# Producers wait when so much waits: what is measured is the recovery, not how fast a backlog is worked off.
_LONGEST_STREAM = 500


class _Loop:
    """Calls its step again and again in a thread, on a connection of its own."""

    def __init__(self, url: str, history: History, pause_seconds: float) -> None:
        self._url = url
        self._history = history
        self._pause = pause_seconds
        self._ended = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Do it meanwhile."""
        thread = threading.Thread(target=self._run, name=type(self).__name__)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _run(self) -> None:
        with Redis.from_url(self._url, protocol=2, socket_timeout=10) as client:
            while not self._ended.wait(self._pause):
                try:
                    self.step(client)
                except RedisError as error:
                    self.failed(client, error)

    def step(self, client: Redis) -> object:
        """Do it once."""
        raise NotImplementedError

    def failed(self, client: Redis, error: RedisError) -> None:
        """Whoever asked does not know what became of it, and does not ask again."""


class Producer(_Loop):
    """Adds records of all kinds to the stream; `kills` says whether those that kill are among them."""

    def __init__(self, url: str, history: History, random: Random, *, kills: bool, pause_seconds: float = 0.05) -> None:
        super().__init__(url, history, pause_seconds)
        self._random = random
        self._kinds = [kind for kind in KINDS.values() if kills or not (kind.kills or kind.do.startswith("slow"))]
        self._number = 0

    def step(self, client: Redis) -> None:
        if int(client.xlen(STREAM)) > _LONGEST_STREAM:
            return
        numbers = range(self._number, self._number + _AT_ONCE)
        self._number += _AT_ONCE
        with client.pipeline(transaction=True) as pipeline:
            for number in numbers:
                kind = self._any_kind()
                self._history.kinds[number] = kind
                pipeline.xadd(STREAM, fields_of(number, kind, self._random))  # type: ignore[arg-type]  # its dict is invariant
            pipeline.execute()
        self._history.confirmed.update(dict.fromkeys(numbers, now_ms()))

    def _any_kind(self) -> Kind:
        [kind] = self._random.choices(self._kinds, [kind.weight for kind in self._kinds])
        return kind


class OldProducer(_Loop):
    """Pushes records to the list, one after the other; all of them are good."""

    def __init__(self, url: str, history: History, pause_seconds: float = 0.2) -> None:
        super().__init__(url, history, pause_seconds)
        self._number = _FIRST_PUSHED

    def step(self, client: Redis) -> None:
        numbers = range(self._number, self._number + _AT_ONCE)
        self._number += _AT_ONCE
        self._history.kinds.update(dict.fromkeys(numbers, KINDS["add"]))
        self._history.pushed.update(numbers)
        client.lpush(LIST, *(json.dumps({"n": number, "do": "add"}) for number in numbers))
        self._history.confirmed.update(dict.fromkeys(numbers, now_ms()))


class Auditor(_Loop):
    """Another group of the stream, slower than streamfea's: it notes which records it was given."""

    def __init__(self, url: str, history: History) -> None:
        super().__init__(url, history, pause_seconds=0.2)
        self._from = "0"

    def step(self, client: Redis) -> bool:
        """Take what there is; return whether there was any."""
        reply: Any = client.xreadgroup(AUDIT, "auditor", {STREAM: self._from}, count=1000)
        entries = [entry for _, page in reply or () for entry in page]
        self._history.audited.update(number_of(fields) for _, fields in entries if fields)
        if entries:
            client.xack(STREAM, AUDIT, *(entry_id for entry_id, _ in entries))
        self._from = "0" if entries and self._from == "0" else ">"
        return bool(entries)

    def failed(self, client: Redis, error: RedisError) -> None:
        self._from = "0"  # what was in an answer that never came is given again

    def finish(self) -> None:
        """Take all that is left."""
        with Redis.from_url(self._url, protocol=2) as client:
            self._from = "0"
            while self.step(client) or self.step(client):
                pass
