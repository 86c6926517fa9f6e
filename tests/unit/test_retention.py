"""How long acknowledged entries are kept, as it is configured."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamfea.config.retention import ACKED, KEEP, Retention, parse_retention

_AGES = st.integers(min_value=1, max_value=10**12).map(lambda ms: Retention(age=timedelta(milliseconds=ms)))
_LENGTHS = st.integers(min_value=1, max_value=10**12).map(lambda length: Retention(length=length))


@pytest.mark.parametrize(
    ("text", "retention"),
    [
        ("acked", ACKED),
        ("keep", KEEP),
        ("7d", Retention(age=timedelta(days=7))),
        ("maxlen:1000000", Retention(length=1_000_000)),
        ("0s", ACKED),
        (timedelta(days=7), Retention(age=timedelta(days=7))),
        (KEEP, KEEP),
    ],
)
def test_it_says_what_is_removed(text: object, retention: Retention) -> None:
    assert parse_retention(text) == retention


def test_what_is_acknowledged_is_removed_unless_it_is_to_be_kept() -> None:
    assert ACKED.removes
    assert not KEEP.removes
    assert parse_retention("7d").removes
    assert parse_retention("maxlen:5").removes


@given(st.sampled_from([ACKED, KEEP]) | _AGES | _LENGTHS)
def test_what_is_written_reads_as_it_was(retention: Retention) -> None:
    assert parse_retention(str(retention)) == retention


@pytest.mark.parametrize(
    "text", ["", "ACKED", "maxlen", "maxlen:", "maxlen:-1", "maxlen:5k", " keep", "7 weeks", 7, None]
)
def test_anything_else_is_told_with_examples(text: object) -> None:
    with pytest.raises(
        ValueError, match=r"is no retention: write acked, keep, a duration like 7d, or maxlen:1000000$"
    ) as e:
        parse_retention(text)
    assert str(e.value).startswith(repr(text))
