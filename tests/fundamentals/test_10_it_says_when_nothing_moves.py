"""It says when nothing moves: `status` and the log tell that work waits, and why."""

from tests.support.shops import Shop
from tests.support.waiting import wait_until


def test_nobody_consumes(shop: Shop) -> None:
    shop.open()
    shop.consume()
    shop.order(1, 2, 3)
    [figures] = shop.project.json("status")
    assert (figures["lag"], figures["consumers"]) == (3, 0)
    assert "3 records wait and no worker runs: streamfea consume q" in shop.run("status")
    shop.run("status", "--fail-lag", "2", expect=3)  # as a monitoring system would ask


def test_a_record_that_fails_again_and_again(shop: Shop) -> None:
    shop.open("raise ValueError('no such article')", backoff="1h")
    shop.order(1)
    with shop.consuming() as consumer:
        wait_until(lambda: "no such article" in consumer.log(), "the log tells")
        [waiting] = shop.project.json("pending", "q")
        assert (waiting["state"], waiting["error"]) == ("retrying", "ValueError: no such article")
        assert consumer.terminate() == 0
