"""How many dead letters a group has for each reason, kept up to date by reading only what is new."""

from collections import Counter
from collections.abc import Mapping
from typing import get_args

from redis import Redis

from streamfea.core.group_ref import GroupRef
from streamfea.streams.connection.keys import dead_letters_key
from streamfea.streams.connection.scripts import Scripts
from streamfea.streams.operating.dead_letters import Reason

__all__ = ["REASONS", "DeadReasons"]

REASONS: tuple[str, ...] = get_args(Reason)

_FIELD = "streamfea-reason"
_BEGINNING = "-"
# A page that is read in one call: some milliseconds of the server's time.
_PAGE = 1000
_PAGE_BYTES = 4 << 20


class DeadReasons:
    """Counts a group's dead letters by reason. Letters are read once, and all again after some were removed."""

    def __init__(self, client: Redis, ref: GroupRef) -> None:
        self._scripts = Scripts(client)
        self._key = dead_letters_key(ref)
        self.counts: Mapping[str, int] = {}
        """The letters of each reason, as of the last time that all had been counted."""
        self.commands = 0
        """How many commands Redis has run, those within scripts included."""
        self._restart()

    @property
    def total(self) -> int:
        """How many letters were counted then."""
        return sum(self.counts.values())

    def update(self, pages: int) -> bool:
        """Read up to so many pages; return whether all letters are counted. Raises what redis-py raises."""
        return any(self._is_whole_after_a_page() for _ in range(pages))

    def _restart(self) -> None:
        self._counting: Counter[str] = Counter()
        self._start, self._size = _BEGINNING, 1

    def _is_whole_after_a_page(self) -> bool:
        asked = [self._start, "+", self._size, _FIELD]
        commands, there, read, size, last, *found = self._scripts.run("count_dead", [self._key], asked)
        self.commands += commands
        for reason, number, *_ in found:
            self._counting[_name_of(reason)] += number
        if read:
            self._start = f"({last.decode()}"
        was_the_last = read < self._size
        self._size = max(1, min(_PAGE, 10 * self._size, _PAGE_BYTES // (size // read + 1))) if read else self._size
        if was_the_last and self._counting.total() == there:
            self.counts = dict(self._counting)
            return True
        if was_the_last or self._counting.total() > there:
            self._restart()
        return False


def _name_of(reason: bytes) -> str:
    """Return a reason; `unknown` for one that is not ours, so that nobody's fields make labels without end."""
    name = reason.decode("utf-8", "replace")
    return name if name in REASONS else "unknown"
