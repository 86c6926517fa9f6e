"""Memory is flat, and nothing is written elsewhere: what a batch needed is gone when it is done."""

from pathlib import Path

import pytest

from tests.support.commands import Consumer
from tests.support.shops import Shop
from tests.support.waiting import wait_until

_LONG = "x" * 5_000


def test_a_worker_forgets_what_it_has_done(shop: Shop) -> None:
    shop.open()
    with shop.consuming() as consumer:
        work(shop, 2_000)
        before = memory(consumer)
        work(shop, 10_000)
        assert memory(consumer) - before < 10 * 2**20
        assert consumer.terminate() == 0


def test_it_writes_no_files(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.open("if order['number'] == 2: raise ValueError('no such article')", max_deliveries=1)
    shop.order(1, 2, 3)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    for variable in ("HOME", "TMPDIR"):
        monkeypatch.setenv(variable, str(tmp_path))
    before = set(tmp_path.rglob("*"))
    with shop.consuming("--until-empty") as consumer:
        assert consumer.process.wait(30) == 0
    assert shop.rows() == [1, 3]
    assert {path.name for path in set(tmp_path.rglob("*")) - before} == {"consume-0.log"}  # the test's own


def work(shop: Shop, count: int) -> None:
    for start in range(0, count, 1_000):
        shop.order(*range(start, start + 1_000), text=_LONG)
        wait_until(lambda: shop.on_stream() == 0, "all is done and gone", 60)


def memory(consumer: Consumer) -> int:
    """Return the bytes that the worker has in memory."""
    [worker] = consumer.workers()
    return int(worker.memory_info().rss)
