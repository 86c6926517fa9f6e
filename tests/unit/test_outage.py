"""A server that is away is waited for, with one word at the beginning and one at the end."""

import threading
from collections.abc import Callable, Iterator

import pytest
from redis.exceptions import ConnectionError as NoConnection
from structlog.testing import capture_logs
from structlog.typing import EventDict

from streamfea.worker.outage import Interrupted, OutageRetry, first_line
from streamfea.worker.stop_signal import StopSignal


@pytest.fixture
def stop() -> Iterator[StopSignal]:
    stop = StopSignal()
    yield stop
    stop.close()


def is_away(error: BaseException) -> bool:
    return isinstance(error, OSError)


def failing(times: int, error: BaseException) -> Callable[[], str]:
    """Return a function that raises so many times before it returns."""
    left = [error] * times

    def function() -> str:
        if left:
            raise left.pop()
        return "done"

    return function


def stop_after(event: threading.Event, stop: StopSignal) -> None:
    event.wait(10)
    stop.set()


def told(logs: list[EventDict]) -> list[str]:
    """Return the messages, which structlog leaves open when another test has set logging up."""
    return [str(line["event"]) % tuple(line.get("positional_args", ())) for line in logs]


def test_what_succeeds_is_returned_without_a_word(stop: StopSignal) -> None:
    retry = OutageRetry("Redis", is_away, stop)
    with capture_logs() as logs:
        assert retry.call(failing(0, OSError())) == "done"
    assert (logs, retry.outages, retry.waiting_seconds) == ([], 0, 0.0)


def test_an_outage_is_told_once_however_many_tries_it_lasts(stop: StopSignal) -> None:
    retry = OutageRetry("Redis", is_away, stop)
    with capture_logs() as logs:
        assert retry.call(failing(4, OSError("refused\nand more"))) == "done"
    assert told(logs) == ["waiting for Redis", "Redis is back"]
    assert logs[0]["reason"] == "refused"
    assert (retry.outages, retry.waiting_seconds) == (1, 0.0)


def test_there_are_pauses_between_the_tries_and_how_long_it_lasted_is_told(stop: StopSignal) -> None:
    with capture_logs() as logs:
        OutageRetry("Redis", is_away, stop).call(failing(6, OSError()))
    seconds = logs[1]["after_seconds"]
    assert 0.1 <= seconds <= 5
    assert seconds == round(seconds, 1)


def test_every_outage_is_counted(stop: StopSignal) -> None:
    retry = OutageRetry("Redis", is_away, stop)
    for _ in range(3):
        retry.call(failing(2, OSError()))
        retry.call(failing(0, OSError()))
    assert retry.outages == 3


def test_what_is_no_outage_is_raised_at_once(stop: StopSignal) -> None:
    retry = OutageRetry("Redis", is_away, stop)
    function = failing(1, ValueError("its own"))
    with pytest.raises(ValueError, match="its own"):
        retry.call(function)
    assert function() == "done"  # so it was tried once
    assert retry.outages == 0


def test_meanwhile_something_can_be_done_about_it(stop: StopSignal) -> None:
    seen: list[str] = []
    retry = OutageRetry("Redis", is_away, stop, lambda error: seen.append(str(error)))
    retry.call(failing(3, OSError("full")))
    assert seen == ["full"] * 3


def test_a_stop_ends_the_wait_with_the_reason_of_it(stop: StopSignal) -> None:
    tried = threading.Event()

    def function() -> None:
        tried.set()
        raise OSError("refused")

    retry = OutageRetry("PostgreSQL", is_away, stop)
    stopping = threading.Thread(target=stop_after, args=(tried, stop))
    stopping.start()
    with pytest.raises(Interrupted, match="stopped while waiting for PostgreSQL") as interrupted:
        retry.call(function)
    stopping.join()
    assert str(interrupted.value.__cause__) == "refused"
    assert retry.waiting_seconds > 0


def test_after_a_stop_everything_is_tried_once_and_nothing_is_said_to_be_back(stop: StopSignal) -> None:
    retry = OutageRetry("Redis", is_away, stop, lambda _: stop.set())
    with capture_logs() as logs:
        with pytest.raises(Interrupted):
            retry.call(failing(9, OSError()))
        assert retry.call(failing(0, OSError())) == "done"
        with pytest.raises(Interrupted):
            retry.call(failing(1, OSError()))
    assert told(logs) == ["waiting for Redis"]


def test_the_reason_is_the_first_line_of_what_the_server_said_first() -> None:
    consequence = RuntimeError("could not")
    consequence.__cause__ = NoConnection("Error 111 connecting")
    assert "Error 111 connecting" in first_line(consequence)
    assert first_line(OSError("one\ntwo")) == "one"
    assert first_line(OSError()) == "OSError"
