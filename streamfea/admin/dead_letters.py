"""Dead letters: listing them, putting them back on the stream, throwing them away."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from redis import Redis

from streamfea.admin.dead_letter_search import Search, Selection, ids_of_no_letter
from streamfea.admin.error_counts import ErrorCounts
from streamfea.admin.job import Job, slices
from streamfea.config.sections import Queue
from streamfea.core.printable import printable
from streamfea.core.wording import counted, listed
from streamfea.errors import StreamfeaError
from streamfea.streams.operating.dead_letters import (
    NO_FIELDS,
    DeadLetter,
    purge,
    replay,
)

__all__ = [
    "DeadLetterListing",
    "Kinds",
    "PurgeDeadLetters",
    "PurgePlan",
    "ReplayDeadLetters",
    "fail_if_any_is_missing",
]

# How many are moved in one step on the server, which takes a few milliseconds.
_REPLAY_AT_ONCE = 100
_PURGE_AT_ONCE = 500
_NAMED_AT_MOST = 100


class DeadLetterListing(Job):
    """Looks through dead letters of some queues; keeps the first `at_most`, oldest first, and counts all."""

    doing = "looking"

    def __init__(self, client: Redis, queues: Sequence[Queue], selection: Selection, at_most: int | None) -> None:
        self._searches = [(queue, Search(client, queue, selection)) for queue in queues]
        self._at_most = at_most
        self.total = sum(search.total for _, search in self._searches)
        self.shown: list[tuple[Queue, DeadLetter]] = []
        """The first letters, with their queues."""
        self.found = 0
        """How many letters the selection takes."""
        self.errors = ErrorCounts()
        """Their errors."""

    @property
    def unknown(self) -> list[str]:
        """Ids that no letter of any of the queues has."""
        return ids_of_no_letter([search for _, search in self._searches])

    def so_far(self) -> str:
        """Return that nothing was changed."""
        return "nothing was changed"

    def _steps(self) -> Iterator[int]:
        for queue, search in self._searches:
            for page in search.pages():
                self._note(queue, page.letters)
                yield page.looked_at

    def _note(self, queue: Queue, letters: Sequence[DeadLetter]) -> None:
        room = None if self._at_most is None else self._at_most - len(self.shown)
        self.shown += [(queue, letter) for letter in letters[:room]]
        self.found += len(letters)
        for letter in letters:
            self.errors.add(letter.summary, letter.where, letter.id)


class Kinds:
    """How many letters there are of which reason and error; as text, a sentence's part."""

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()

    def add(self, letters: Iterable[DeadLetter]) -> None:
        """Count letters."""
        self._count.update(printable(f"{letter.reason} {letter.error_type}", one_line=True) for letter in letters)

    def __str__(self) -> str:
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in self._count.most_common())
        return f"{counted(self._count.total(), 'dead letter', 'dead letters')}" + (f" ({kinds})" if kinds else "")


class PurgePlan(Job):
    """Finds the dead letters of a queue that a purge would throw away; changes nothing."""

    doing = "looking"

    def __init__(self, client: Redis, queue: Queue, selection: Selection) -> None:
        self._search = Search(client, queue, selection)
        self.total = self._search.total
        self.ids: list[str] = []
        """The letters."""
        self.kinds = Kinds()
        """How many of them there are of each kind."""

    @property
    def unknown(self) -> list[str]:
        """Ids that no letter has."""
        return self._search.unknown

    def so_far(self) -> str:
        """Return that nothing was changed."""
        return "nothing was changed"

    def _steps(self) -> Iterator[int]:
        for page in self._search.pages():
            self.ids += [letter.id for letter in page.letters]
            self.kinds.add(page.letters)
            yield page.looked_at


class PurgeDeadLetters(Job):
    """Throws dead letters with these ids away for good."""

    doing = "purging"

    def __init__(self, client: Redis, queue: Queue, ids: Sequence[str]) -> None:
        self._client = client
        self._queue = queue
        self._ids = ids
        self.total = len(ids)
        self.purged = 0
        """How many letters are gone."""

    def so_far(self) -> str:
        """Return how many are gone."""
        return f"{_letters_are(self.purged)} gone"

    def _steps(self) -> Iterator[int]:
        for part in slices(self._ids, _PURGE_AT_ONCE):
            self.purged += purge(self._client, self._queue.ref, part)
            yield len(part)


class ReplayDeadLetters(Job):
    """Puts dead letters back at the end of the stream, as new entries with their own fields.

    Each leaves the dead letters in the same step. What is buried meanwhile stays.
    """

    doing = "replaying"

    def __init__(self, client: Redis, queue: Queue, selection: Selection) -> None:
        self._client = client
        self._queue = queue
        self._search = Search(client, queue, selection)
        self.total = self._search.total
        self.back = 0
        """How many letters are back."""
        self.gone = 0
        """How many were gone already when their turn came."""
        self.without_fields: list[str] = []
        """Letters that stay, since they have nothing to put back."""
        self.first_back: list[tuple[str, str]] = []
        """The first letters that are back, each with the id of the entry that it has become."""

    def so_far(self) -> str:
        """Return how many are back."""
        return f"{_letters_are(self.back)} back on {self._queue.stream}"

    def fail_if_undone(self) -> None:
        """Raise `StreamfeaError` when letters that were named are not back."""
        fail_if_any_is_missing(self._queue, self._search.unknown, self.without_fields)

    def _steps(self) -> Iterator[int]:
        for page in self._search.pages():
            yield page.looked_at - len(page.letters)
            for part in slices((letter.id for letter in page.letters), _REPLAY_AT_ONCE):
                self._replay(part)
                yield len(part)

    def _replay(self, letter_ids: Sequence[str]) -> None:
        done = 0
        while done < len(letter_ids):
            became = replay(self._client, self._queue.ref, letter_ids[done:])
            for letter_id, entry_id in zip(letter_ids[done:], became, strict=False):
                self._note(letter_id, entry_id)
            done += len(became)

    def _note(self, letter_id: str, entry_id: str) -> None:
        if entry_id == NO_FIELDS:
            self.without_fields.append(letter_id)
        elif not entry_id:
            self.gone += 1
        else:
            self.back += 1
            if len(self.first_back) < _NAMED_AT_MOST:
                self.first_back.append((letter_id, entry_id))


def fail_if_any_is_missing(queue: Queue | None, unknown: Sequence[str], without_fields: Sequence[str] = ()) -> None:
    """Raise `StreamfeaError` when something that was asked for could not be done; `queue` is None for all queues."""
    messages, remedies = [], []
    if unknown:
        messages.append(f"there is no dead letter {listed(unknown)}")
        remedies.append(f"`streamfea dead list{f' {queue.name}' if queue else ''}` shows them")
    if without_fields:
        messages.append(
            f"{listed(without_fields)} cannot be replayed and stays: the entry was gone from the stream when it was "
            "buried, so there are no fields to put back"
        )
        remedies.append("`dead purge` throws it away")
    if messages:
        where = f"queue {queue.name}: " if queue else ""
        raise StreamfeaError(where + "; ".join(messages), remedy="; ".join(remedies))


def _letters_are(count: int) -> str:
    return counted(count, "dead letter is", "dead letters are")
