"""What becomes of a record."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamfea import Reject, Retry
from streamfea.core.entry import Entry
from streamfea.worker.policy import Outcome, Verdict, outcome_of, retry_delay

_HOUR = timedelta(hours=1)


def entry(deliveries: int = 1) -> Entry:
    return Entry("orders", "orders", "1-0", {}, deliveries)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (Reject("no such sensor"), Verdict.REJECTED),
        (Retry("not yet"), Verdict.POSTPONED),
        (ValueError("x"), Verdict.FAILED),
        (KeyboardInterrupt(), Verdict.FAILED),
    ],
)
def test_what_a_handler_raises_decides_what_becomes_of_its_record(error: BaseException, verdict: Verdict) -> None:
    one = entry()
    assert outcome_of(one, error) == Outcome(one, verdict, error)


@pytest.mark.parametrize(
    ("deliveries", "seconds"), [(1, 2), (2, 4), (3, 8), (11, 2048), (12, 3600), (31, 3600), (10**9, 3600)]
)
def test_the_wait_doubles_with_every_delivery_up_to_an_hour(deliveries: int, seconds: int) -> None:
    outcome = Outcome(entry(deliveries), Verdict.FAILED, ValueError())
    assert retry_delay(outcome, timedelta(seconds=2)) == timedelta(seconds=seconds)


def test_a_record_that_asks_for_a_delay_waits_that_long_however_often_it_was_delivered() -> None:
    outcome = Outcome(entry(7), Verdict.POSTPONED, Retry("not yet", delay="3h"))
    assert retry_delay(outcome, timedelta(seconds=1)) == timedelta(hours=3)


@given(st.timedeltas(min_value=timedelta(milliseconds=1)), st.integers(min_value=1, max_value=10**6))
def test_every_wait_is_at_least_the_one_before_and_never_more_than_an_hour(backoff: timedelta, deliveries: int) -> None:
    waits = [retry_delay(Outcome(entry(count), Verdict.FAILED), backoff) for count in (deliveries, deliveries + 1)]
    assert min(backoff, _HOUR) <= waits[0] <= waits[1] <= _HOUR
