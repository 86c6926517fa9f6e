"""Bugs for the machine to find: each breaks one guarantee, in the consumers' processes of a test only."""

from collections.abc import Sequence
from typing import Any

from streamfea.core.entry import Entry
from streamfea.database.exactly_once.ledger import Ledger
from streamfea.streams.consuming.trim import Trimmer
from streamfea.worker.processing import Processing
from streamfea.worker.retries import Predecessor, Retries

__all__ = ["BUGS", "put_in"]


def put_in(name: str) -> None:
    """Put in the bug of that name; none if it is empty."""
    if name:
        BUGS[name]()


def acknowledge_before_commit() -> None:
    """What a worker holds when it dies is lost."""
    run = Processing.run

    def acknowledge_and_run(self: Processing, entries: Sequence[Entry]) -> None:
        if entries:
            self._redis.reader.acknowledge([entry.id for entry in entries])
            self._redis.reader.confirm()
        run(self, entries)

    _replace(Processing, "run", acknowledge_and_run)


def skip_the_ledger() -> None:
    """What is delivered again is done again."""
    _replace(Ledger, "enter", lambda *_: set())
    _replace(Ledger, "enter_all", lambda *_: None)


def trim_by_maxlen() -> None:
    """What nobody has read yet is removed."""

    def trim(self: Trimmer) -> int:
        client: Any = self._scripts._client
        return int(client.xtrim(self._stream, maxlen=20, approximate=False))

    _replace(Trimmer, "trim", trim)


def delete_consumers_with_pending() -> None:
    """What a dead consumer held is forgotten with its name."""

    def delete(self: Retries, dead: Predecessor) -> None:
        group = self._redis.group
        client: Any = group._client
        client.xgroup_delconsumer(group.ref.stream, group.ref.group, dead.consumer)

    _replace(Retries, "succeed", delete)


BUGS = {
    "acknowledge-before-commit": acknowledge_before_commit,
    "skip-the-ledger": skip_the_ledger,
    "trim-by-maxlen": trim_by_maxlen,
    "delete-consumers-with-pending": delete_consumers_with_pending,
}


def _replace(owner: type, name: str, function: Any) -> None:
    setattr(owner, name, function)
