"""Which dead letters are meant, and finding them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NamedTuple

import regex
from redis import Redis

from streamfea.admin.causes import cause_of
from streamfea.admin.choice import duration, entry_ids
from streamfea.config.sections import Queue
from streamfea.core.durations import to_ms
from streamfea.core.printable import printable
from streamfea.errors import UsageError
from streamfea.streams.connection.clock import server_now_ms
from streamfea.streams.operating.dead_letters import (
    DeadLetter,
    DeadLetterFilter,
    Reason,
    count_dead_letters,
    dead_letter_pages,
    find_dead_letters,
)

__all__ = ["Page", "Search", "Selection", "ids_of_no_letter"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters are meant: those with these ids, or all, as far as the filters take them."""

    ids: list[str]
    filters: DeadLetterFilter
    since: timedelta | None

    @classmethod
    def of(
        cls,
        ids: Sequence[str],
        reason: Reason | None = None,
        error_type: str | None = None,
        match: str | None = None,
        since: str | None = None,
        cause: str | None = None,
    ) -> "Selection":
        """Parse what a person has written; raise `UsageError` if a part of it means nothing."""
        try:
            pattern = None if match is None else regex.compile(match)
        except regex.error as error:
            raise UsageError(f"{printable(match or '')!r} is not a regular expression: {error}") from error
        within = None if since is None else duration(since)
        return cls(entry_ids(ids), DeadLetterFilter(reason, error_type, pattern, cause=cause_of(cause)), within)

    def must_be_some(self, *, everything: bool) -> None:
        """Refuse to take all when that was not asked for, or was asked for along with ids."""
        if everything and self.ids:
            raise UsageError("ids and --all are given", remedy="name ids, or give --all")
        if not everything and not self.ids and self.since is None and self.filters == DeadLetterFilter():
            remedy = "add ids, or a filter (--cause, --reason, --error-type, --match, --since), or --all"
            raise UsageError("which dead letters are meant?", remedy=remedy)

    def takes(self, now_ms: int) -> Callable[[DeadLetter], bool]:
        """Return a function that tells whether a letter is wanted, at this time of the server's clock."""
        since_ms = None if self.since is None else now_ms - to_ms(self.since)
        return replace(self.filters, since_ms=since_ms).takes


class Page(NamedTuple):
    """A step of a search: how many letters were looked at, and those of them that are wanted."""

    looked_at: int
    letters: list[DeadLetter]


class Search:
    """The dead letters of a queue that a selection means, oldest first. Iterating yields them."""

    def __init__(self, client: Redis, queue: Queue, selection: Selection) -> None:
        self._client = client
        self._queue = queue
        self._selection = selection
        self.total = len(selection.ids) or count_dead_letters(client, queue.ref)
        """How many letters will be looked at."""
        self.unknown: list[str] = []
        """Ids that no letter has; known from the first page on."""

    def pages(self) -> Iterator[Page]:
        """Yield the letters, a page of those that are looked at at a time."""
        takes = self._selection.takes(server_now_ms(self._client))
        for letters in self._named() if self._selection.ids else dead_letter_pages(self._client, self._queue.ref):
            yield Page(len(letters), list(filter(takes, letters)))

    def __iter__(self) -> Iterator[DeadLetter]:
        for page in self.pages():
            yield from page.letters

    def _named(self) -> Iterator[list[DeadLetter]]:
        found = find_dead_letters(self._client, self._queue.ref, self._selection.ids)
        self.unknown = [wanted for wanted, letters in found.items() if not letters]
        yield list({letter.id: letter for letters in found.values() for letter in letters}.values())


def ids_of_no_letter(searches: Sequence[Search]) -> list[str]:
    """Return the ids that none of these searches, each in another queue, has found."""
    [first, *others] = [search.unknown for search in searches]
    return [wanted for wanted in first if all(wanted in unknown for unknown in others)]
