"""A bad record costs itself only: not its batch, not its worker, not its queue."""

import pytest

from tests.support.shops import Shop


def test_a_failure(shop: Shop) -> None:
    shop.open(
        """
        if order["number"] == 2:
            raise ValueError("no such article")
        """,
        max_deliveries=1,
    )
    shop.order(1, 2, 3)
    shop.consume()
    assert shop.rows() == [1, 3]
    assert shop.dead() == [("failed", "no such article")]


def test_a_row_that_the_database_refuses(shop: Shop) -> None:
    shop.open(unique=True, max_deliveries=1)
    shop.order(1, 2, 2, None, 3)  # the second 2 is there already, and a number must not be NULL
    shop.consume()
    assert shop.rows() == [1, 2, 3]
    assert [reason for reason, _ in shop.dead()] == ["failed", "failed"]


def test_a_retry(shop: Shop) -> None:
    shop.open(
        """
        if order["number"] == 2 and is_first_time("2 was tried"):
            raise ConnectionError("the price list is away")
        """,
        backoff="100ms",
    )
    shop.order(1, 2, 3)
    shop.consume()
    assert shop.rows() == [1, 3, 2]
    assert shop.dead() == []


def test_a_retry_that_the_handler_asks_for(shop: Shop) -> None:
    shop.open(
        """
        if is_first_time("it was tried"):
            raise Retry("closed until tomorrow", delay="100ms")
        """
    )
    shop.order(1)
    shop.consume()
    assert shop.rows() == [1]


def test_a_dead_letter(shop: Shop) -> None:
    shop.open("if order['number'] == 2: raise ValueError('no such article')", max_deliveries=2, backoff="100ms")
    shop.order(1, 2)
    shop.consume()
    [letter] = shop.project.json("dead", "list", "q")
    assert (letter["deliveries"], letter["error"]) == (2, "no such article")
    assert "no such article" in shop.run("dead", "show", "q", letter["id"])

    shop.open()  # the handler is mended
    shop.run("dead", "replay", "q", "--all")
    shop.consume()
    assert shop.rows() == [1, 2]
    assert shop.dead() == []


def test_a_record_that_can_never_succeed(shop: Shop) -> None:
    shop.open("if order['number'] == 2: raise Reject('sold out')")
    shop.order(1, 2, 3)
    shop.consume()
    assert shop.rows() == [1, 3]
    assert shop.dead() == [("rejected", "sold out")]  # at once: nothing was tried again


@pytest.mark.parametrize(
    ("death", "reason"),
    [("os._exit(3)", "crashed"), ("os.kill(os.getpid(), 9)", "crashed"), ("wait_for('ever')", "timeout")],
)
def test_a_record_that_kills_its_worker(shop: Shop, death: str, reason: str) -> None:
    shop.open(f"if order['number'] == 2: {death}", max_deliveries=1, timeout="1s", claim_idle="1s")
    shop.order(1, 2, 3)
    shop.consume()
    assert sorted(shop.rows()) == [1, 3]
    assert [reason for reason, _ in shop.dead()] == [reason]
