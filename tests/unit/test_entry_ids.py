"""Entry ids in PostgreSQL's signed numbers, which the ledger of exactly-once rests on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamfea.database.exactly_once.entry_ids import from_bigints, to_bigints

_HALF = st.integers(min_value=0, max_value=2**64 - 1)


@given(_HALF, _HALF)
def test_every_id_fits_into_bigints_and_comes_back(ms: int, seq: int) -> None:
    numbers = to_bigints(f"{ms}-{seq}")
    assert all(-(2**63) <= number < 2**63 for number in numbers)
    assert from_bigints(*numbers) == f"{ms}-{seq}"


@pytest.mark.parametrize(
    ("entry_id", "numbers"),
    [
        ("1795580525000-3", (1795580525000, 3)),
        ("9223372036854775807-9223372036854775808", (2**63 - 1, -(2**63))),
        ("0-18446744073709551615", (0, -1)),
    ],
)
def test_numbers_keep_their_order_up_to_the_middle_and_are_negative_from_there(
    entry_id: str, numbers: tuple[int, int]
) -> None:
    assert to_bigints(entry_id) == numbers
