"""A fault of the world costs no record: work waits, says so once, and goes on by itself.

One try is all that records have here: a fault that counted as a try would bury them.
"""

from pathlib import Path

import pytest
from redis import Redis

from streamfea.embedded import ensure_postgresql, ensure_valkey, stop
from tests.support.commands import Consumer, Project
from tests.support.shops import Shop
from tests.support.waiting import wait_until


@pytest.fixture
def own_shop(tmp_path: Path, own_valkey: Path, own_postgresql: Path) -> Shop:
    """A shop with servers that a test may stop."""
    redis_url, database_url = ensure_valkey(own_valkey), ensure_postgresql(own_postgresql)
    project = Project(tmp_path / "shop", redis_url, database_url, "orders")
    return Shop(project, Redis.from_url(redis_url, protocol=2), database_url)


def test_postgresql_goes_and_comes_back(own_shop: Shop, own_postgresql: Path) -> None:
    own_shop.open(max_deliveries=1)
    with own_shop.consuming() as consumer:
        stop(own_postgresql)
        own_shop.order(1, 2, 3)
        wait_until(lambda: "waiting for PostgreSQL" in consumer.log(), "it is noticed")
        ensure_postgresql(own_postgresql)
        wait_until(lambda: own_shop.rows() == [1, 2, 3], "work goes on")
        assert_it_is_said_once(consumer, "PostgreSQL")
    assert own_shop.dead() == []


def test_redis_goes_and_comes_back(own_shop: Shop, own_valkey: Path) -> None:
    own_shop.open(max_deliveries=1)
    with own_shop.consuming() as consumer:
        own_shop.order(1)
        wait_until(lambda: own_shop.rows() == [1], "it works")
        stop(own_valkey)
        wait_until(lambda: "waiting for Redis" in consumer.log(), "it is noticed")
        ensure_valkey(own_valkey)
        own_shop.order(2, 3)
        wait_until(lambda: sorted(own_shop.rows()) == [1, 2, 3], "work goes on")
        assert_it_is_said_once(consumer, "Redis")
    assert own_shop.dead() == []


def test_two_transactions_that_are_in_each_others_way(shop: Shop) -> None:
    shop.open(
        """
        if any(is_first_time(f"it was tried {times}") for times in (1, 2, 3)):
            dbsession.execute(text("DO $$ BEGIN RAISE 'in the way' USING ERRCODE = 'serialization_failure'; END $$"))
        """,
        max_deliveries=1,
    )
    shop.order(1, 2, 3)
    shop.consume()
    assert shop.rows() == [1, 2, 3]
    assert shop.dead() == []


def assert_it_is_said_once(consumer: Consumer, server: str) -> None:
    assert consumer.terminate() == 0
    assert consumer.log().count(f"waiting for {server}") == consumer.log().count(f"{server} is back") == 1
