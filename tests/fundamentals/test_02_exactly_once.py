"""Exactly once, if asked for: an entry's rows are in the database once, however often it is delivered."""

import pytest

from tests.support.shops import Shop
from tests.support.waiting import wait_until


@pytest.mark.parametrize(("guarantee", "times"), [("exactly-once", 1), ("at-least-once", 2)])
def test_a_stream_that_is_delivered_again(shop: Shop, guarantee: str, times: int) -> None:
    shop.open(guarantee=guarantee, retention="keep")
    shop.order(1, 2, 3)
    shop.consume()
    assert shop.rows() == [1, 2, 3]

    shop.client.xgroup_setid(shop.stream, "streamfea", "0")  # from the start, as if nobody had read anything
    shop.consume()
    assert shop.rows() == [1, 2, 3] * times


@pytest.mark.parametrize(("guarantee", "rows"), [("exactly-once", [1]), ("at-least-once", [1, 1])])
def test_a_kill_between_commit_and_acknowledgement(shop: Shop, guarantee: str, rows: list[int]) -> None:
    shop.open("wait_for('the pause')", guarantee=guarantee, claim_idle="500ms")
    shop.order(1)
    with shop.consuming() as consumer:
        wait_until(lambda: shop.pending() == 1, "it is delivered")
        shop.client.client_pause(60_000, all=False)  # Redis takes no writes: no acknowledgement either
        shop.let("the pause")
        wait_until(lambda: shop.rows() == [1], "it is committed")
        consumer.end()
    shop.client.client_unpause()
    assert shop.pending() == 1

    shop.consume()
    assert shop.rows() == rows
    assert shop.pending() == 0
