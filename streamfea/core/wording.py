"""Formats numbers, names and durations for sentences."""

from collections.abc import Sequence

__all__ = ["counted", "human_ms", "listed"]

_NAMED_AT_MOST = 5
_MINUTE_MS, _HOUR_MS, _DAY_MS = 60_000, 3_600_000, 86_400_000


def counted(count: int, one: str, several: str) -> str:
    """Return a number with its noun."""
    return f"1 {one}" if count == 1 else f"{count:,} {several}"


def listed(names: Sequence[str]) -> str:
    """Return names in a sentence, the first few of many."""
    more = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more:,} more" if more > 0 else "")


def human_ms(milliseconds: int | None) -> str:
    """Return milliseconds in the two units that people would say them in."""
    if milliseconds is None:
        return "-"
    if milliseconds < _MINUTE_MS:
        return f"{milliseconds / 1000:.1f}s"
    if milliseconds < _HOUR_MS:
        return f"{milliseconds // _MINUTE_MS}m{milliseconds % _MINUTE_MS // 1000:02}s"
    if milliseconds < _DAY_MS:
        return f"{milliseconds // _HOUR_MS}h{milliseconds % _HOUR_MS // _MINUTE_MS:02}m"
    return f"{milliseconds // _DAY_MS}d{milliseconds % _DAY_MS // _HOUR_MS:02}h"
