"""Converts entry ids to bigints: both halves of an id have 64 bits, and PostgreSQL has no unsigned numbers.

The upper half of the numbers, which no clock will see, turns negative.
"""

__all__ = ["from_bigints", "to_bigints"]

_RANGE = 1 << 64


def to_bigints(entry_id: str) -> tuple[int, int]:
    """Return the two numbers of an entry id, signed."""
    ms, _, seq = entry_id.partition("-")
    return _signed(int(ms)), _signed(int(seq))


def from_bigints(ms: int, seq: int) -> str:
    """Return the entry id that `to_bigints()` made these numbers of."""
    return f"{ms % _RANGE}-{seq % _RANGE}"


def _signed(number: int) -> int:
    return number - _RANGE if number >= _RANGE // 2 else number
