"""Slow is not dead: a worker that lives keeps its entries, one that is dead loses them after `claim_idle`."""

from itertools import pairwise

from tests.support.shops import Shop
from tests.support.waiting import wait_until


def test_a_slow_record(shop: Shop) -> None:
    shop.open("with Path('tries').open('a') as tries: tries.write('x')\nwait_for('its end')", claim_idle="600ms")
    shop.order(1)
    with shop.consuming("--workers", "2") as consumer:
        wait_until(lambda: shop.pending() == 1, "one of them has it")
        idle_ms: list[int] = []

        def renewals() -> int:
            [entry] = shop.client.xpending_range(shop.stream, "streamfea", "-", "+", 1)
            idle_ms.append(entry["time_since_delivered"])
            return sum(later < earlier for earlier, later in pairwise(idle_ms))

        wait_until(lambda: renewals() >= 8, "its worker says again and again that it lives")
        shop.let("its end")
        wait_until(lambda: shop.pending() == 0, "it is done")
        assert consumer.terminate() == 0
    assert shop.rows() == [1]
    assert (shop.project.folder / "tries").read_text() == "x"


def test_a_kill(shop: Shop) -> None:
    shop.open("if is_first_time('it was tried'): wait_for('ever')", claim_idle="500ms")
    shop.order(1)
    with shop.consuming() as first, shop.consuming() as second:
        wait_until((shop.project.folder / "it was tried").exists, "one of them has it")
        [holder] = [entry["consumer"] for entry in shop.client.xpending_range(shop.stream, "streamfea", "-", "+", 1)]
        victim = first if str(first.process.pid) in holder.decode() else second
        victim.end()  # kill -9, of all its processes
        wait_until(lambda: shop.rows() == [1], "the other has taken it over")
    assert shop.dead() == []


def test_a_hand_over(shop: Shop) -> None:
    shop.open("if not Path('hurry').exists(): time.sleep(0.1)", claim_idle="1h", commit_interval="10s")
    with shop.consuming() as first:
        shop.order(0)
        wait_until(lambda: shop.on_stream() == 0, "it has learned how long a record takes")
        shop.order(*range(1, 51))
        wait_until(lambda: shop.pending() == 50, "the batch is delivered")
        first.process.terminate()  # SIGTERM: finish what runs, commit, hand over the rest
        assert first.process.wait(30) == 0
    done = shop.rows()
    assert done == list(range(len(done)))
    assert shop.pending() == 51 - len(done) > 0

    shop.let("hurry")
    shop.consume()  # need not wait for `claim_idle`: what was handed over is due
    assert sorted(shop.rows()) == list(range(51))
