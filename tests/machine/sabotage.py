"""Bugs for the machine to find: each breaks one guarantee, in the consumers' processes of a test only."""

from collections.abc import Sequence
from typing import Any

from streamfea.core.entry import Entry
from streamfea.database.exactly_once.ledger import Ledger
from streamfea.streams.consuming.trim import Trimmer
from streamfea.worker.loop import Predecessor, Worker

__all__ = ["BUGS", "put_in"]


def put_in(name: str) -> None:
    """Put in the bug of that name; none if it is empty."""
    if name:
        BUGS[name]()


def acknowledge_before_commit() -> None:
    """What a worker holds when it dies is lost."""
    run = Worker._run

    def acknowledge_and_run(self: Worker, entries: Sequence[Entry], *, alone: bool) -> None:
        if entries:
            self._reader.acknowledge([entry.id for entry in entries])
            self._reader.confirm()
        run(self, entries, alone=alone)

    _replace(Worker, "_run", acknowledge_and_run)


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

    def delete(self: Worker, dead: Predecessor) -> None:
        client: Any = self._group._client
        client.xgroup_delconsumer(self._queue.stream, self._queue.group, dead.consumer)

    _replace(Worker, "_succeed", delete)


BUGS = {
    "acknowledge-before-commit": acknowledge_before_commit,
    "skip-the-ledger": skip_the_ledger,
    "trim-by-maxlen": trim_by_maxlen,
    "delete-consumers-with-pending": delete_consumers_with_pending,
}


def _replace(owner: type, name: str, function: Any) -> None:
    setattr(owner, name, function)
