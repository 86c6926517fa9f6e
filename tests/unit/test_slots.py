"""When a worker that died is replaced, and what its successor is told."""

import time
from datetime import timedelta

from streamfea.config.sections import Queue
from streamfea.core.entry import Entry
from streamfea.processes.slots import Slot
from streamfea.worker.retries import Predecessor

_LONG_AGO = 1_000_000.0


def slot(consumer: str = "c-1") -> Slot:
    slot = Slot(Queue(name="q", handler="h", stream="s", timeout=timedelta(seconds=90)), 1)
    start(slot, consumer)
    return slot


def start(slot: Slot, consumer: str) -> None:
    slot.consumer, slot.started_at = consumer, time.monotonic()


def test_a_place_is_empty_at_first_and_its_process_is_due() -> None:
    queue = Queue(name="q", handler="h", stream="s")
    empty = vars(Slot(queue, 3))
    assert empty.pop("monitor").running() is None
    assert empty.pop("_delay") == 0.5
    assert empty == {
        "queue": queue, "number": 3, "is_shim": False, "consumer": "", "process": None, "hides_its_end": False,
        "substitute": None, "words": None, "row": None, "predecessors": [], "started_at": 0.0, "start_at": 0.0,
        "finished": False, "timed_out": False,
    }  # fmt: skip


def test_the_wait_doubles_with_every_death_soon_after_a_start_up_to_half_a_minute() -> None:
    dying = slot()
    assert [dying.restart_after("died") for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_the_next_start_is_when_the_wait_is_over() -> None:
    dying = slot()
    before = time.monotonic()
    delay = dying.restart_after("died")
    assert before + delay <= dying.start_at <= time.monotonic() + delay


def test_after_a_long_life_the_wait_is_the_first_again_and_earlier_deaths_are_settled() -> None:
    dying = slot()
    for number in range(4):
        start(dying, f"c-{number}")
        dying.restart_after("died")
    start(dying, "c-9")
    dying.started_at -= _LONG_AGO
    assert dying.restart_after("killed by SIGKILL") == 0.5
    assert dying.predecessors == [Predecessor("c-9", "crashed", "killed by SIGKILL", "")]
    start(dying, "c-10")
    assert dying.restart_after("died") == 1


def test_a_record_that_kills_makes_the_others_wait_no_longer() -> None:
    dying = slot()
    dying.monitor.started(Entry("q", "s", "1-0", {}))
    assert [dying.restart_after("killed by SIGSEGV") for _ in range(3)] == [0.5] * 3
    dying.monitor.ended()
    assert [dying.restart_after("exit code 1") for _ in range(2)] == [1, 2]


def test_a_successor_is_told_of_all_who_died_before_it_oldest_first() -> None:
    dying = slot("c-1")
    dying.restart_after("exit code 3")
    start(dying, "c-2")
    dying.monitor.started(Entry("q", "s", "1-0", {}))
    dying.timed_out = True
    dying.restart_after("killed by SIGKILL")
    assert dying.predecessors == [
        Predecessor("c-1", "crashed", "exit code 3", ""),
        Predecessor("c-2", "timeout", "timeout of 90 s passed", "1-0"),
    ]
    assert dying.timed_out is False


def test_of_a_name_that_stays_only_the_last_death_is_told() -> None:
    dying = slot("orders-1")
    dying.restart_after("exit code 3")
    dying.restart_after("killed by SIGKILL")
    assert dying.predecessors == [Predecessor("orders-1", "crashed", "killed by SIGKILL", "")]


def test_a_shim_is_not_awaited_nor_is_who_has_finished() -> None:
    queue = Queue(name="q", handler="h", stream="s")
    finished = Slot(queue, 1)
    assert finished.is_awaited()
    finished.finished = True
    assert not finished.is_awaited()
    assert not Slot(queue, 0, is_shim=True).is_awaited()
