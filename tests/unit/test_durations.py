"""Durations, as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamfea.core.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("1.5m", 90), ("2h", 7200), ("7d", 604800), (" 3 s ", 3), ("0s", 0)],
)
def test_a_number_and_a_unit_is_a_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@given(st.timedeltas(min_value=timedelta(0)))
def test_what_is_a_duration_already_is_left_as_it_is(duration: timedelta) -> None:
    assert parse_duration(duration) is duration


@pytest.mark.parametrize("text", ["", "30", "s", "-1s", "1w", "soon", 30, None, timedelta(seconds=-1), "9" * 30 + "d"])
def test_anything_else_is_not(text: object) -> None:
    with pytest.raises(
        ValueError, match=r"is not a duration: write|^a duration cannot be negative$|is longer than any clock"
    ):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**12))
def test_what_is_written_reads_as_it_was(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration
