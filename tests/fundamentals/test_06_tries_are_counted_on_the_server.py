"""Tries are counted on the server: restarts forget none of them."""

from tests.support.shops import Shop
from tests.support.waiting import wait_until


def test_a_record_that_fails_in_one_process_after_the_other(shop: Shop) -> None:
    shop.open("raise ValueError('no such article')", max_deliveries=3, backoff="1h")
    shop.order(1)
    for tries in (1, 2):
        with shop.consuming() as consumer:
            wait_until(lambda consumer=consumer: "no such article" in consumer.log(), "it has failed")  # type: ignore[misc]  # bound at once
            assert shop.deliveries() == tries
            assert consumer.terminate() == 0
        shop.run("retry", "q", "--all")  # due now, not in an hour

    shop.consume()
    [letter] = shop.project.json("dead", "list", "q")
    assert letter["deliveries"] == 3
    assert shop.pending() == 0
