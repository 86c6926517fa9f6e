"""A process that is told to finish hears it in any wait, and once is enough."""

import os
import select
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamfea.worker.stop_signal import StopSignal


@pytest.fixture
def stop() -> Iterator[StopSignal]:
    stop = StopSignal()
    yield stop
    stop.close()


def test_until_it_is_set_a_wait_lasts_as_long_as_asked(stop: StopSignal) -> None:
    started = time.monotonic()
    assert not stop.wait(0.05)
    assert time.monotonic() - started >= 0.05
    assert not stop.is_set()


def test_once_it_is_set_nothing_waits_any_more(stop: StopSignal) -> None:
    for _ in range(100_000):  # more than a pipe holds
        stop.set()
    assert stop.is_set()
    assert stop.wait(60)
    assert stop.wait()


def test_a_wait_under_way_ends(stop: StopSignal) -> None:
    with_stop: list[bool] = []
    waiting = threading.Thread(target=lambda: with_stop.append(stop.wait(60)))
    waiting.start()
    stop.set()
    waiting.join(10)
    assert with_stop == [True]


def test_its_descriptor_is_readable_from_then_on(stop: StopSignal) -> None:
    def is_readable() -> bool:
        return bool(select.select([stop.fileno()], [], [], 0)[0])

    assert not is_readable()
    stop.set()
    stop.wait()
    assert is_readable()


def test_it_works_when_a_handler_has_closed_its_descriptors() -> None:
    stop = StopSignal()
    reader = stop.fileno()
    for end in ends_of_the_pipe_of(reader):
        os.close(end)
    other = os.open(os.devnull, os.O_RDWR)  # may have the number of one of them now
    assert not stop.wait(0.01)
    started = time.monotonic()
    assert not stop.wait(0.2)
    assert 0.2 <= time.monotonic() - started < 0.9
    assert not stop.wait(1.5)  # returns sooner, since nothing would wake it
    assert time.monotonic() - started < 1.6
    started = time.monotonic()
    assert not stop.wait()
    assert 0.9 <= time.monotonic() - started < 1.9
    stop.set()
    assert stop.is_set()
    assert stop.wait(60)
    os.close(other)


def ends_of_the_pipe_of(descriptor: int) -> list[int]:
    ours = Path("/proc/self/fd")
    pipe = (ours / str(descriptor)).readlink()
    return [int(one.name) for one in ours.iterdir() if one.is_symlink() and one.readlink() == pipe]
