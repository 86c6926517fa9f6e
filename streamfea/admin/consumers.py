"""Removes consumers that are gone from their groups."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from redis import Redis

from streamfea.config.sections import Queue
from streamfea.core.durations import to_ms
from streamfea.core.wording import counted, human_ms
from streamfea.streams.operating.members import Member, forget_all_idle, members

__all__ = ["Pruned", "prune"]

# Consumers that are forgotten in one step, so that thousands take seconds.
_AT_ONCE = 200
_BACK = "it has come back to life meanwhile"


@dataclass(frozen=True, slots=True)
class Pruned:
    """The result for one consumer: `why_kept` is None if it was removed."""

    name: str
    why_kept: str | None


def prune(client: Redis, queue: Queue, at_least: timedelta) -> Iterator[Pruned]:
    """Forget the members of a queue's group that hold nothing and are dead, or were not seen for `at_least`.

    Yields each member with what became of it. What is pending for a member is never dropped.
    """
    found = members(client, queue.ref)
    for start in range(0, len(found), _AT_ONCE):
        some = found[start : start + _AT_ONCE]
        kept = {member.name: _why_kept(member, at_least) for member in some}
        for alive in ("no", "unknown"):
            names = [member.name for member in some if member.alive == alive and kept[member.name] is None]
            gone = forget_all_idle(client, queue.ref, names, _wanted_idle(alive, at_least))
            kept.update((name, None if is_gone else _BACK) for name, is_gone in zip(names, gone, strict=True))
        yield from (Pruned(name, why) for name, why in kept.items())


def _why_kept(member: Member, at_least: timedelta) -> str | None:
    if member.pending:
        return f"{counted(member.pending, 'entry', 'entries')} pending; others take them over after claim_idle"
    if member.alive == "yes":
        return "it is alive"
    if member.idle_ms < to_ms(_wanted_idle(member.alive, at_least)):
        return f"seen {human_ms(member.idle_ms)} ago; --idle says how long it must be"
    return None


def _wanted_idle(alive: str, at_least: timedelta) -> timedelta:
    return timedelta(0) if alive == "no" else at_least
