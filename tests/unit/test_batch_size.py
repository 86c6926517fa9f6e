"""How many entries a worker asks for: as many as it can commit in time, and no more."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamfea.worker.batch_size import AdaptiveBatchSize

_SECOND = timedelta(seconds=1)
_MANY_BYTES = 10**9


def after(adaptive: AdaptiveBatchSize, *steps: tuple[int, float]) -> int:
    """Return how many entries `adaptive` asks for once it has seen batches of so many records in so many seconds."""
    for records, seconds in steps:
        adaptive.observe(records, seconds, records)
    return adaptive.count


@pytest.mark.parametrize("batch_size", [500, 1])
def test_as_long_as_nothing_is_known_one_is_asked_for(batch_size: int) -> None:
    assert AdaptiveBatchSize(_SECOND, batch_size, _MANY_BYTES).count == 1


def test_as_many_are_asked_for_as_can_be_committed_in_the_interval() -> None:
    assert after(AdaptiveBatchSize(_SECOND, 500, _MANY_BYTES), (10, 0.1)) == 100
    assert after(AdaptiveBatchSize(timedelta(seconds=0.5), 500, _MANY_BYTES), (10, 0.1)) == 50


def test_quick_records_fill_a_batch_and_no_more() -> None:
    assert after(AdaptiveBatchSize(_SECOND, 500, _MANY_BYTES), (500, 0.01)) == 500
    assert after(AdaptiveBatchSize(_SECOND, 500, _MANY_BYTES), (500, 0.0)) == 500


def test_records_slower_than_the_interval_are_taken_one_by_one() -> None:
    assert after(AdaptiveBatchSize(_SECOND, 500, _MANY_BYTES), (10, 600)) == 1


def test_one_slow_batch_counts_for_less_than_a_third() -> None:
    assert (
        after(AdaptiveBatchSize(_SECOND, 500, _MANY_BYTES), (100, 1.0), (100, 2.0)) == 76
    )  # 0.01 s, then 0.01 + 0.3 * 0.01 s
    assert after(AdaptiveBatchSize(_SECOND, 500, _MANY_BYTES), (100, 1.0), (100, 0.5)) == 117  # 0.01 - 0.3 * 0.005 s


def test_after_a_reply_that_was_too_long_half_as_many_are_asked_for() -> None:
    adaptive = AdaptiveBatchSize(_SECOND, 500, _MANY_BYTES)
    assert after(adaptive, (500, 0.01)) == 500
    adaptive.slow_down()
    assert adaptive.count == 250
    adaptive.slow_down()
    assert adaptive.count == 125


def test_whoever_has_slowed_down_asks_for_one_at_least() -> None:
    adaptive = AdaptiveBatchSize(_SECOND, 500, _MANY_BYTES)
    for _ in range(12):
        adaptive.slow_down()
    assert adaptive.count == 1


def test_after_slowing_down_it_grows_by_half_with_every_batch_and_never_beyond_a_batch() -> None:
    adaptive = AdaptiveBatchSize(_SECOND, 7, _MANY_BYTES)
    adaptive.observe(1, 0.0, 1)
    adaptive.slow_down()
    assert adaptive.count == 3
    assert [after(adaptive, (1, 0.0)) for _ in range(4)] == [5, 7, 7, 7]
    adaptive = AdaptiveBatchSize(_SECOND, 500, _MANY_BYTES)
    adaptive.observe(500, 0.01, 500)
    adaptive.slow_down()
    assert [after(adaptive, (1, 0.0)) for _ in range(3)] == [376, 500, 500]


def test_after_long_records_came_at_once_it_begins_with_one_again() -> None:
    adaptive = AdaptiveBatchSize(_SECOND, 500, _MANY_BYTES)
    assert after(adaptive, (500, 0.01)) == 500
    adaptive.start_small()
    assert adaptive.count == 1
    assert [after(adaptive, (1, 0.0)) for _ in range(3)] == [2, 4, 7]


@given(
    st.integers(min_value=1, max_value=1000),
    st.lists(st.none() | st.tuples(st.integers(min_value=1, max_value=1000), st.floats(min_value=0, max_value=1e6))),
)
def test_whatever_happens_at_least_one_and_at_most_a_batch_is_asked_for(
    batch_size: int, steps: list[tuple[int, float] | None]
) -> None:
    adaptive = AdaptiveBatchSize(_SECOND, batch_size, _MANY_BYTES)
    for step in steps:
        if step is None:
            adaptive.slow_down()
        else:
            adaptive.observe(*step, size=1)
        assert 1 <= adaptive.count <= batch_size


def test_no_more_are_asked_for_than_fit_in_memory() -> None:
    assert sized(AdaptiveBatchSize(_SECOND, 500, 1000), 1000) == 100
    assert sized(AdaptiveBatchSize(_SECOND, 500, 1000), 100_000) == 1
    assert sized(AdaptiveBatchSize(_SECOND, 500, 1000), 10**9) == 1


def test_longer_records_count_at_once_and_shorter_ones_by_and_by() -> None:
    assert sized(AdaptiveBatchSize(_SECOND, 500, 1000), 400, 1000) == 100
    assert sized(AdaptiveBatchSize(_SECOND, 500, 1000), 1000, 400) == 121  # 10 - 0.3 * 6 bytes a record


def test_there_is_room_for_more_if_it_takes_no_longer_than_that() -> None:
    adaptive = AdaptiveBatchSize(_SECOND, 500, _MANY_BYTES)
    assert not adaptive.leaves_room(3600)  # nothing is known
    adaptive.observe(100, 0.25, 100)
    assert adaptive.count == 400
    assert adaptive.leaves_room(1.0)
    assert not adaptive.leaves_room(0.99)


def test_there_is_room_for_more_if_memory_holds_twice_as_many() -> None:
    adaptive = AdaptiveBatchSize(_SECOND, 100, 2_000)
    adaptive.observe(100, 0.0, 1_000)
    assert adaptive.count == 100
    assert adaptive.leaves_room(1.0)
    adaptive.observe(100, 0.0, 1_001)
    assert not adaptive.leaves_room(1.0)


def sized(adaptive: AdaptiveBatchSize, *sizes: int) -> int:
    """Return how many entries `adaptive` asks for after quick batches of 100 records with so many bytes in all."""
    for size in sizes:
        adaptive.observe(100, 0.001, size)
    return adaptive.count
