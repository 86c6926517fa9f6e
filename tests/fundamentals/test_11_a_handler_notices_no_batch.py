"""A handler notices no batch: whatever it does, it comes to what a transaction for each record would have come to."""

from tests.support.shops import Shop


def test_a_query_sees_what_earlier_records_have_added(shop: Shop) -> None:
    shop.open(
        """
        if order["number"] == 3:
            order["number"] = 100 + sum(dbsession.scalars(select(Order.number)))
        """
    )
    shop.order(1, 2, 3)
    shop.consume()
    assert shop.rows() == [1, 2, 103]


def test_a_commit_and_a_rollback_of_its_own(shop: Shop) -> None:
    shop.open(
        """
        if order["number"] == 2:
            dbsession.add(Order(number=20))
            dbsession.commit()
            dbsession.add(Order(number=21))
            dbsession.rollback()
        """
    )
    shop.order(1, 2, 3)
    shop.consume()
    assert shop.rows() == [1, 20, 2, 3]


def test_a_listener_hears_of_every_row(shop: Shop) -> None:
    shop.open(
        """
        if is_first_time("it listens"):
            @event.listens_for(Order, "before_insert")
            def double(_mapper, _connection, order):
                order.number *= 2
        """
    )
    shop.order(1, 2, 3)
    shop.consume()
    assert shop.rows() == [2, 4, 6]


def test_a_trigger_fires_for_every_row(shop: Shop) -> None:
    shop.open()
    shop.query("CREATE FUNCTION double() RETURNS trigger LANGUAGE plpgsql AS "
               "$$ BEGIN NEW.number := 2 * NEW.number; RETURN NEW; END $$")  # fmt: skip
    shop.query("CREATE TRIGGER double BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION double()")
    shop.order(1, 2, 3)
    shop.consume()
    assert shop.rows() == [2, 4, 6]
