"""Which dead letters a command means: its ids and filters, and what they find."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated

import regex
import typer
from redis import Redis

from streamfea.cli.common import counted, duration_option, entry_ids, listed
from streamfea.config.settings import Queue
from streamfea.core.durations import to_ms
from streamfea.core.printable import printable
from streamfea.errors import StreamfeaError, UsageError
from streamfea.streams.connection.clock import server_now_ms
from streamfea.streams.operating.dead_letters import (
    DeadLetter,
    DeadLetterFilter,
    Reason,
    count_dead_letters,
    dead_letters,
    find_dead_letters,
)

__all__ = [
    "AllOption", "ErrorTypeOption", "IdsArgument", "MatchOption", "ReasonOption", "SinceOption",
    "Wanted", "refuse", "said", "select", "total_of",
]  # fmt: skip

IdsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Dead letters, or the entries that they were.", show_default=False),
]
AllOption = Annotated[bool, typer.Option("--all", help="All dead letters of the queue.")]
ReasonOption = Annotated[Reason | None, typer.Option("--reason", help="Only those of this reason.", show_default=False)]
ErrorTypeOption = Annotated[
    str | None, typer.Option("--error-type", help="Only errors of this type, as in ValueError.", show_default=False)
]
MatchOption = Annotated[
    str | None,
    typer.Option(
        "--match",
        metavar="REGEX",
        help="Only where this is found in the error, or in a field's value.",
        show_default=False,
    ),
]
SinceOption = Annotated[
    str | None, typer.Option("--since", help="Only those that died in the last 1h, say.", show_default=False)
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters are meant: those with these ids, or all, as far as the filters take them."""

    ids: list[str]
    filters: DeadLetterFilter
    since: timedelta | None

    @classmethod
    def of(
        cls,
        ids: list[str] | None,
        reason: Reason | None,
        error_type: str | None,
        match: str | None,
        since: str | None,
    ) -> "Wanted":
        """Return what options mean; a usage error when one means nothing."""
        try:
            pattern = None if match is None else regex.compile(match)
        except regex.error as error:
            raise UsageError(f"{printable(match or '')!r} is not a regular expression: {error}") from error
        within = None if since is None else duration_option(since)
        return cls(entry_ids(ids or []), DeadLetterFilter(reason, error_type, pattern), within)

    def must_be_some(self, *, everything: bool) -> None:
        """Refuse to take all when that was not asked for, or was asked for along with ids."""
        if everything and self.ids:
            raise UsageError("name ids, or --all, and not both")
        if not everything and not self.ids and self.since is None and self.filters == DeadLetterFilter():
            raise UsageError("which ones? add ids, or a filter (--reason, --error-type, --match, --since), or --all")

    def takes(self, now_ms: int) -> Callable[[DeadLetter], bool]:
        """Return what tells whether a letter is wanted, at this time of the server's clock."""
        since_ms = None if self.since is None else now_ms - to_ms(self.since)
        return replace(self.filters, since_ms=since_ms).takes


def total_of(client: Redis, queue: Queue, wanted: Wanted) -> int:
    """Return how many letters will be looked at."""
    return len(wanted.ids) or count_dead_letters(client, queue.ref)


def select(
    client: Redis, queue: Queue, wanted: Wanted, advance: Callable[[int], None] = lambda _: None
) -> tuple[Iterator[DeadLetter], list[str]]:
    """Return the letters that are wanted, and the ids that nothing has; `advance` is told how many were looked at."""
    takes = wanted.takes(server_now_ms(client))
    if not wanted.ids:
        return filter(takes, dead_letters(client, queue.ref, advance)), []
    found = find_dead_letters(client, queue.ref, wanted.ids)
    letters = {letter.id: letter for several in found.values() for letter in several}
    return filter(takes, letters.values()), [one for one, several in found.items() if not several]


def said(count: int) -> str:
    """Return how many, as the beginning of a sentence on them."""
    return counted(count, "dead letter is", "dead letters are")


def refuse(queue: Queue | None, unknown: Sequence[str], without_fields: Sequence[str] = ()) -> None:
    """Raise `StreamfeaError` when something that was asked for could not be done."""
    problems = []
    if unknown:
        command = f"streamfea dead list {queue.name}" if queue else "streamfea dead list"
        problems.append(f"there is no dead letter {listed(unknown)}; `{command}` shows them")
    if without_fields:
        problems.append(
            f"{listed(without_fields)} cannot be replayed and stays: the entry was gone from the stream when it was "
            "buried, so there are no fields to put back; `dead purge` throws it away"
        )
    if problems:
        raise StreamfeaError((f"queue {queue.name}: " if queue else "") + "; ".join(problems))
