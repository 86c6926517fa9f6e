"""What happened: what producers were promised, when servers forgot something, and what is there at the end."""

import time
from collections import Counter
from dataclasses import dataclass, field

from streamfea.streams.operating.dead_letters import DeadLetter
from tests.machine.records import Kind

__all__ = ["Effect", "Final", "History", "now_ms"]


def now_ms() -> float:
    """Return milliseconds since the epoch; the servers run on the same clock."""
    return time.time() * 1000


@dataclass(frozen=True, slots=True)
class Effect:
    """A row that the handler has left: the record, the entry that it came with, and the table that it is in."""

    number: int
    do: str
    stream: str
    entry_id: str
    table: str = "effect"


@dataclass(slots=True)
class History:
    """Noted while the machine runs.

    `confirmed` is when Redis confirmed a record, in ms. `forgotten` are spans, in ms, of which Redis lost all writes.
    `restarted` is when delivered entries were delivered afresh, in ms: a group destroyed, or writes lost.
    """

    kinds: dict[int, Kind] = field(default_factory=dict)
    pushed: set[int] = field(default_factory=set)
    confirmed: dict[int, float] = field(default_factory=dict)
    audited: set[int] = field(default_factory=set)
    forgotten: list[tuple[float, float]] = field(default_factory=list)
    restarted: list[float] = field(default_factory=list)
    injected: Counter[str] = field(default_factory=Counter)
    recovered: dict[str, list[float]] = field(default_factory=dict)
    trouble: list[tuple[str, str]] = field(default_factory=list)

    def was_forgotten(self, at_ms: float) -> bool:
        """Tell whether Redis lost what was written then."""
        return any(start <= at_ms <= end for start, end in self.forgotten)


@dataclass(slots=True)
class Final:
    """What is there once all is over."""

    effects: list[Effect] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)
    dead: list[DeadLetter] = field(default_factory=list)
    pending: int = 0
    unread: int = 0
    listed: int = 0
    errors: int = 0
