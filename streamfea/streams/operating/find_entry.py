"""Finds an entry in the stream, pending or not, or among the dead letters."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Any, Literal

from redis import Redis

from streamfea.core.group_ref import GroupRef
from streamfea.streams.consuming.last_error import LastError
from streamfea.streams.operating.dead_letters import DeadLetter, dead_letters
from streamfea.streams.operating.pending import PendingEntry, pending_entry
from streamfea.streams.operating.status import group_info

__all__ = ["EntryView", "find_entry", "view_of_letter"]

State = Literal["waiting", "in-flight", "retrying", "stranded", "acknowledged", "dead"]


@dataclass(frozen=True, slots=True)
class EntryView:
    """An entry and its present state.

    `fields` is None when the stream has lost an entry that is still pending. `waiting` has not been delivered yet.
    """

    id: str
    state: State
    fields: Mapping[bytes, bytes] | None
    pending: PendingEntry | None = None
    last_error: LastError | None = None
    letter: DeadLetter | None = None

    @property
    def error(self) -> LastError | None:
        """Why it failed, if it did."""
        if self.letter is not None:
            return LastError(self.letter.error_type, self.letter.error, self.letter.traceback)
        return self.last_error if self.last_error and self.last_error.type else None

    @property
    def consumer(self) -> str | None:
        """Who has it, or had it last before it died."""
        return self.letter.consumer if self.letter else self.pending.consumer if self.pending else None

    @property
    def deliveries(self) -> int | None:
        """How often it was delivered, as far as the server still knows."""
        return self.letter.deliveries if self.letter else self.pending.deliveries if self.pending else None


def find_entry(client: Redis, ref: GroupRef, claim_idle: timedelta, entry_id: str) -> EntryView | None:
    """Return the entry with this id; None when there is none, nor a dead letter of it or with this id.

    May look through all dead letters.
    """
    replies: Any = client  # redis-py leaves the types of replies open
    in_stream = replies.xrange(ref.stream, entry_id, entry_id)
    fields = in_stream[0][1] if in_stream else None
    found = pending_entry(client, ref, claim_idle, entry_id)
    if found is not None:
        pending, last_error = found
        return EntryView(entry_id, pending.state, fields, pending, last_error)
    if fields is not None and _is_new(client, ref, entry_id):
        return EntryView(entry_id, "waiting", fields)
    letter = _letter_of(client, ref, entry_id)
    if letter is not None:
        return view_of_letter(letter)
    return None if fields is None else EntryView(entry_id, "acknowledged", fields)


def view_of_letter(letter: DeadLetter) -> EntryView:
    """Return the entry that has become a dead letter."""
    return EntryView(letter.entry_id or letter.id, "dead", letter.fields, letter=letter)


def _is_new(client: Redis, ref: GroupRef, entry_id: str) -> bool:
    group = group_info(client, ref)
    return group is None or _as_numbers(entry_id) > _as_numbers(group["last-delivered-id"].decode())


def _letter_of(client: Redis, ref: GroupRef, entry_id: str) -> DeadLetter | None:
    """Return the dead letter of an entry, or with this id; as a rule it was buried after the entry was added."""
    after, before = dead_letters(client, ref, first=entry_id), dead_letters(client, ref, last=f"({entry_id}")
    return next((letter for letter in chain(after, before) if entry_id in {letter.entry_id, letter.id}), None)


def _as_numbers(entry_id: str) -> tuple[int, int]:
    """Return an entry id as something that sorts."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)
