"""When entries are removed that every group of a stream has acknowledged."""

import re
from dataclasses import dataclass
from datetime import timedelta

from streamfea.core.durations import format_duration, parse_duration

__all__ = ["ACKED", "KEEP", "Retention", "parse_retention"]

_MAXLEN = re.compile(r"maxlen:(\d+)")


@dataclass(frozen=True, slots=True)
class Retention:
    """Acknowledged entries are removed once they are older than `age`, while the stream is longer than `length`.

    `removes` is false when nothing is ever removed. What a group has not acknowledged stays in any case.
    """

    removes: bool = True
    age: timedelta = timedelta(0)
    length: int = 0

    def __str__(self) -> str:
        """Return it as it stands in a configuration."""
        if not self.removes:
            return "keep"
        if self.length:
            return f"maxlen:{self.length}"
        return format_duration(self.age) if self.age else "acked"


ACKED = Retention()
KEEP = Retention(removes=False)


def parse_retention(text: object) -> Retention:
    """Return the retention that `text` names: `acked`, `keep`, a duration or `maxlen:N`.

    Raises `ValueError`, with examples, for anything else.
    """
    if isinstance(text, Retention):
        return text
    if text in ("acked", "keep"):
        return ACKED if text == "acked" else KEEP
    match = _MAXLEN.fullmatch(text) if isinstance(text, str) else None
    if match:
        return Retention(length=int(match[1]))
    try:
        return Retention(age=parse_duration(text))
    except ValueError:
        raise ValueError(
            f"{text!r} is no retention: write acked, keep, a duration like 7d, or maxlen:1000000"
        ) from None
