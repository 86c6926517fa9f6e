"""Who puts records in: new producers onto the stream, old ones onto the list; and another group that reads along."""

import json
from abc import abstractmethod
from random import Random
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from tests.machine.history import History, now_ms
from tests.machine.loop import Loop
from tests.machine.records import KINDS, Kind, fields_to_add, number_of

__all__ = ["AUDIT", "LIST", "STREAM", "Auditor", "OldProducer", "Producer"]

STREAM = "load"
LIST = "old"
AUDIT = "audit"

_AT_ONCE = 10
_FIRST_PUSHED = 1_000_000_000
# Producers wait when so much waits: what is measured is the recovery, not how fast a backlog is worked off.
_LONGEST_STREAM = 500


class _Client(Loop):
    """Takes its steps on a connection of its own."""

    def __init__(self, url: str, history: History, pause_seconds: float) -> None:
        super().__init__(pause_seconds)
        self._client: Any = Redis.from_url(url, protocol=2, socket_timeout=10)  # redis-py leaves replies' types open
        self._history = history

    def run(self) -> None:
        with self._client:
            super().run()

    def step(self) -> None:
        try:
            self.ask()
        except RedisError:
            self.failed()

    @abstractmethod
    def ask(self) -> object:
        """Take the step."""

    def failed(self) -> None:
        """Whoever asked does not know what became of it, and does not ask again."""


class Producer(_Client):
    """Adds records of all kinds to the stream; `kills` says whether those that kill are among them."""

    def __init__(self, url: str, history: History, random: Random, *, kills: bool, pause_seconds: float = 0.05) -> None:
        super().__init__(url, history, pause_seconds)
        self._random = random
        self._kinds = [kind for kind in KINDS.values() if kills or not (kind.kills or kind.do.startswith("slow"))]
        self._number = 0

    def ask(self) -> None:
        if int(self._client.xlen(STREAM)) > _LONGEST_STREAM:
            return
        numbers = range(self._number, self._number + _AT_ONCE)
        self._number += _AT_ONCE
        with self._client.pipeline(transaction=True) as pipeline:
            for number in numbers:
                kind = self._any_kind()
                self._history.kinds[number] = kind
                pipeline.xadd(STREAM, fields_to_add(number, kind, self._random))
            pipeline.execute()
        self._history.confirmed.update(dict.fromkeys(numbers, now_ms()))

    def _any_kind(self) -> Kind:
        [kind] = self._random.choices(self._kinds, [kind.weight for kind in self._kinds])
        return kind


class OldProducer(_Client):
    """Pushes records to the list, one after the other; all of them are good."""

    def __init__(self, url: str, history: History, pause_seconds: float = 0.2) -> None:
        super().__init__(url, history, pause_seconds)
        self._number = _FIRST_PUSHED

    def ask(self) -> None:
        numbers = range(self._number, self._number + _AT_ONCE)
        self._number += _AT_ONCE
        self._history.kinds.update(dict.fromkeys(numbers, KINDS["add"]))
        self._history.pushed.update(numbers)
        self._client.lpush(LIST, *(json.dumps({"n": number, "do": "add"}) for number in numbers))
        self._history.confirmed.update(dict.fromkeys(numbers, now_ms()))


class Auditor(_Client):
    """Another group of the stream, slower than streamfea's: it notes which records it was given."""

    def __init__(self, url: str, history: History) -> None:
        super().__init__(url, history, pause_seconds=0.2)
        self._from = "0"

    def ask(self) -> bool:
        """Take what there is; return whether there was any."""
        reply = self._client.xreadgroup(AUDIT, "auditor", {STREAM: self._from}, count=1000)
        entries = [entry for _, page in reply or () for entry in page]
        self._history.audited.update(number_of(fields) for _, fields in entries if fields)
        if entries:
            self._client.xack(STREAM, AUDIT, *(entry_id for entry_id, _ in entries))
        self._from = "0" if entries and self._from == "0" else ">"
        return bool(entries)

    def failed(self) -> None:
        self._from = "0"  # what was in an answer that never came is given again

    def finish(self) -> None:
        """Take all that is left."""
        self._from = "0"
        while self.ask() or self.ask():
            pass
        self._client.close()
