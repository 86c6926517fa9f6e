"""Durations as people write them: `500ms`, `30s`, `5m`, `2h`, `7d`."""

import re
from datetime import timedelta

_MILLISECONDS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PATTERN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*")


def parse_duration(text: object) -> timedelta:
    """Return the duration that `text` names; a `timedelta` is returned as it is.

    Raises `ValueError`, with an example, for anything else, negative durations included.
    """
    if isinstance(text, timedelta):
        if text < timedelta(0):
            raise ValueError("a duration cannot be negative")
        return text
    match = _PATTERN.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write a number and a unit, like 500ms, 30s, 5m, 2h or 7d")
    amount, unit = match.groups()
    try:
        return timedelta(milliseconds=float(amount) * _MILLISECONDS[unit])
    except OverflowError:
        raise ValueError(f"{text!r} is longer than any clock can tell") from None


def format_duration(duration: timedelta) -> str:
    """Return the shortest exact text for `duration`, in whole units down to the millisecond."""
    milliseconds = to_ms(duration)
    for unit, size in reversed(_MILLISECONDS.items()):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return "0s"


def to_ms(duration: timedelta) -> int:
    """Return whole milliseconds, Redis' unit."""
    return round(duration / timedelta(milliseconds=1))
