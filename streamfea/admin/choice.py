"""Parses what people write to choose entries: ids, durations and expressions. Nonsense raises `UsageError`."""

import re
from collections.abc import Sequence
from datetime import timedelta

from streamfea.config.sections import Queue
from streamfea.config.settings import Settings
from streamfea.core.durations import parse_duration
from streamfea.core.printable import printable
from streamfea.errors import UsageError

__all__ = ["duration", "entry_ids", "queues_and_ids"]

_ENTRY_ID = re.compile(r"([0-9]{1,20})(?:-([0-9]{1,20}))?")
_LARGEST_IN_ID = 2**64 - 1


def duration(text: str) -> timedelta:
    """Return the duration that `text` names."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(str(error)) from error


def entry_ids(texts: Sequence[str]) -> list[str]:
    """Return ids of entries in full, each once."""
    return list(dict.fromkeys(_entry_id(text) for text in texts))


def queues_and_ids(settings: Settings, words: Sequence[str]) -> tuple[list[Queue], list[str]]:
    """Return the queues and ids of `[QUEUE] ID…`: all queues, if the first word is an id and no queue's name."""
    if words and words[0] not in settings.queues and _ENTRY_ID.fullmatch(words[0]):
        return settings.select([]), entry_ids(words)
    return settings.select(words[:1]), entry_ids(words[1:])


def _entry_id(text: str) -> str:
    match = _ENTRY_ID.fullmatch(text)
    if match is None or max(int(match[1]), int(match[2] or 0)) > _LARGEST_IN_ID:
        raise UsageError(
            f"{printable(text)!r} is not the id of an entry",
            remedy="write milliseconds and a number, as in 1764041633000-0",
        )
    return f"{int(match[1])}-{int(match[2] or 0)}"
