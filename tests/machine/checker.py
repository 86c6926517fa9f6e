"""Holds what is there at the end against what was promised."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from streamfea.streams.operating.dead_letters import DeadLetter
from tests.machine.history import Final, History
from tests.machine.records import number_of

__all__ = ["Violation", "check"]

# Between a group that is created again and the last dead letter that follows from it.
_MARGIN_MS = 1000

Sort = Literal[
    "lost",
    "doubled",
    "half done",
    "wrongly buried",
    "not buried",
    "left over",
    "out of order",
    "in the wrong table",
    "trouble",
]


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept."""

    sort: Sort
    what: str


def check(history: History, final: Final, *, exactly_once: bool) -> list[Violation]:
    """Return every violation."""
    found = [
        *_lost(history, final),
        *_lost_to_the_auditor(history),
        *_half_done(history, final),
        *_wrongly_buried(history, final),
        *_not_buried(history, final),
        *_buried_twice(history, final),
        *_left_over(final),
        *_out_of_order(history, final),
        *_in_the_wrong_table(history, final),
        *(Violation("trouble", f"{what}: {details}") for what, details in history.trouble),
    ]
    return [*found, *_doubled(history, final)] if exactly_once else found


def _lost(history: History, final: Final) -> Iterator[Violation]:
    """Confirmed to its producer, and neither done nor buried."""
    there = {effect.number for effect in final.effects} | {number_in(letter) for letter in final.dead}
    for number, at_ms in history.confirmed.items():
        if number not in there and not history.was_forgotten(at_ms):
            yield Violation("lost", f"record {number} ({history.kinds[number].do})")


def _lost_to_the_auditor(history: History) -> Iterator[Violation]:
    """Removed from the stream before another group has read it."""
    for number, at_ms in history.confirmed.items():
        if number in history.pushed or number in history.audited or history.was_forgotten(at_ms):
            continue
        yield Violation("lost", f"record {number}: another group never got it")


def _doubled(history: History, final: Final) -> Iterator[Violation]:
    entries = defaultdict(list)
    for effect in final.effects:
        entries[effect.number].append(effect.entry_id)
    for number, ids in entries.items():
        # A list's element whose move Redis forgot is moved again: another entry, which no ledger can know.
        forgotten = number in history.pushed and any(history.was_forgotten(_ms(one)) for one in ids)
        if len(ids) > 1 and not (forgotten and len(set(ids)) == len(ids)):
            yield Violation("doubled", f"record {number} ({history.kinds[number].do}) as {', '.join(ids)}")


def _half_done(history: History, final: Final) -> Iterator[Violation]:
    """Effects of one transaction that are not all there, or some that were rolled back."""
    crossed = sum(effect.do == "cross" for effect in final.effects)
    for name, total in final.totals.items():
        if total != crossed:
            yield Violation("half done", f"account {name} has {total}, and {crossed} records crossed it")
    for effect in final.effects:
        kind = history.kinds.get(effect.number)
        if kind is None or not kind.good:
            yield Violation(
                "half done", f"record {effect.number} ({effect.do}) was rolled back, and yet there is a row"
            )


def _wrongly_buried(history: History, final: Final) -> Iterator[Violation]:
    for letter in final.dead:
        kind = history.kinds[number_in(letter)]
        why = f"record {number_in(letter)} ({kind.do}) as {letter.reason}: {letter.error_type} {letter.error}"
        # Killed from outside in a run of its own, each time: nobody can tell that from a record that kills.
        if kind.good or letter.reason not in kind.reasons | {"crashed"}:
            yield Violation("wrongly buried", why)


def _not_buried(history: History, final: Final) -> Iterator[Violation]:
    buried = {number_in(letter) for letter in final.dead}
    for number, at_ms in history.confirmed.items():
        if not history.kinds[number].good and number not in buried and not history.was_forgotten(at_ms):
            yield Violation("not buried", f"record {number} ({history.kinds[number].do})")


def _buried_twice(history: History, final: Final) -> Iterator[Violation]:
    letters = defaultdict(list)
    for letter in final.dead:
        letters[letter.entry_id].append(_ms(letter.id))
    for entry_id, times in letters.items():
        for first, second in pairwise(sorted(times)):
            # A group that is created again is given everything again, dead letters' entries too.
            if not any(first <= at_ms <= second + _MARGIN_MS for at_ms in history.restarted):
                yield Violation("doubled", f"two dead letters of entry {entry_id}")


def _left_over(final: Final) -> Iterator[Violation]:
    for name in ("pending", "unread", "listed", "errors"):
        if left := getattr(final, name):
            yield Violation("left over", f"{left} entries {name}")


def _out_of_order(history: History, final: Final) -> Iterator[Violation]:
    """Elements of a list stand on the stream in another order than they were pushed in."""
    moved = {effect.entry_id: effect.number for effect in final.effects if effect.number in history.pushed}
    kept = {entry_id: number for entry_id, number in moved.items() if not history.was_forgotten(_ms(entry_id))}
    times = Counter(kept.values())
    in_stream = [kept[entry_id] for entry_id in sorted(kept, key=_parts) if times[kept[entry_id]] == 1]
    for before, after in pairwise(in_stream):
        if before > after:
            yield Violation("out of order", f"element {after} stands behind {before}")


def _in_the_wrong_table(history: History, final: Final) -> Iterator[Violation]:
    """A row that one queue's worker, or one statement, has written into another's table."""
    for effect in final.effects:
        right = "old_effect" if effect.number in history.pushed else "new_effect" if effect.do == "core" else "effect"
        if effect.table != right:
            yield Violation("in the wrong table", f"record {effect.number} ({effect.do}): in {effect.table}")


def number_in(letter: DeadLetter) -> int:
    """Return the number of the record in a dead letter."""
    return number_of(letter.fields)


def _ms(entry_id: str) -> int:
    return _parts(entry_id)[0]


def _parts(entry_id: str) -> tuple[int, int]:
    ms, _, seq = entry_id.partition("-")
    return int(ms), int(seq)
