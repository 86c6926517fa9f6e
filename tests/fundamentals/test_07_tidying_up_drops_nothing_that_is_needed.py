"""Tidying up drops nothing that is needed: what any group has not acknowledged stays."""

from tests.support.shops import Shop
from tests.support.waiting import wait_until


def test_another_group_has_not_read_it_yet(shop: Shop) -> None:
    shop.open(retention="acked")
    shop.order(1, 2, 3)
    shop.client.xgroup_create(shop.stream, "accounting", id="0")
    shop.consume()
    shop.run("trim", "q")
    assert shop.on_stream() == 3

    [[_, entries]] = shop.client.xreadgroup("accounting", "someone", {shop.stream: ">"}, count=2)
    shop.run("trim", "q")
    assert shop.on_stream() == 3  # read is not acknowledged

    shop.client.xack(shop.stream, "accounting", *(entry_id for entry_id, _ in entries))
    shop.run("trim", "q")
    assert shop.on_stream() == 1


def test_a_consumer_that_is_dead_still_holds_something(shop: Shop) -> None:
    shop.open("wait_for('ever')", claim_idle="1s")
    shop.order(1)
    with shop.consuming() as consumer:
        wait_until(lambda: shop.pending() == 1, "it is delivered")
        consumer.end()
    shop.run("consumers", "prune", "q")
    assert shop.pending() == 1  # XGROUP DELCONSUMER would have dropped it

    shop.open(claim_idle="1s")
    shop.consume()
    assert shop.rows() == [1]


def test_a_queue_is_begun_anew(shop: Shop) -> None:
    shop.open(retention="keep")
    shop.order(1, 2, 3)
    shop.consume()
    shop.run("reset", "q", "--yes")
    assert shop.rows() == []
    shop.consume()
    assert shop.rows() == [1, 2, 3]
