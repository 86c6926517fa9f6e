"""Nothing is lost: an entry is acknowledged only after the transaction with its row has committed."""

from tests.support.shops import Shop
from tests.support.waiting import wait_until


def test_one_record(shop: Shop) -> None:
    shop.open()
    shop.order(1)
    assert (shop.on_stream(), shop.rows()) == (1, [])

    shop.consume()
    assert shop.rows() == [1]
    assert shop.pending() == 0
    assert shop.on_stream() == 0  # what is acknowledged is removed, unless `retention` says otherwise


def test_a_batch(shop: Shop) -> None:
    shop.open()
    shop.order(*range(100))
    shop.consume()
    assert shop.rows() == list(range(100))

    transactions = shop.query("SELECT count(DISTINCT xmin::text) FROM orders")
    assert transactions[0] < 10  # records share transactions: that is why it is fast


def test_before_its_commit_an_entry_is_pending(shop: Shop) -> None:
    shop.open()
    with shop.consuming() as consumer:
        with shop.no_commits():
            shop.order(1)
            wait_until(lambda: shop.query(_WAITS_FOR_A_LOCK) == [1], "its row waits to be written")
            assert shop.pending() == 1
        wait_until(lambda: shop.pending() == 0, "it is acknowledged")
        assert shop.rows() == [1]
        assert consumer.terminate() == 0


def test_a_kill_before_the_commit(shop: Shop) -> None:
    shop.open(claim_idle="500ms")
    with shop.no_commits():
        shop.order(1)
        with shop.consuming() as consumer:
            wait_until(lambda: shop.query(_WAITS_FOR_A_LOCK) == [1], "its row waits to be written")
            consumer.end()  # kill -9, of all its processes
        assert shop.pending() == 1
    shop.query(_END_WHO_WAITS)  # PostgreSQL has not noticed yet that they are dead

    shop.consume()
    assert shop.rows() == [1]
    assert shop.pending() == 0


_OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
_WAITS_FOR_A_LOCK = f"SELECT count(*) {_OTHERS}"
_END_WHO_WAITS = f"SELECT pg_terminate_backend(pid) {_OTHERS}"
