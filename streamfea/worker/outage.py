"""Retries a call while a server is unavailable. Logs once when the outage begins and once when it ends."""

import time
from collections.abc import Callable
from typing import TypeVar

import psycopg
from redis.exceptions import RedisError
from tenacity import RetryCallState, RetryError, Retrying, retry_if_exception, wait_random_exponential

from streamfea.database.connection.errors import chain_of
from streamfea.observe.events import Observer, OutageBegan, OutageEnded, Server
from streamfea.observe.log_observer import LogObserver
from streamfea.streams.connection.errors import told
from streamfea.worker.process_guard import end_if_child
from streamfea.worker.stop_signal import StopSignal

T = TypeVar("T")

# Short enough that work goes on within seconds of a server's return, long enough not to hammer one that is starting.
_LONGEST_PAUSE_SECONDS = 2.0


class Interrupted(Exception):  # noqa: N818 - it says what happened to the wait, it is no error
    """The worker was asked to stop while it waited."""


class OutageRetry:
    """Retries calls that an outage of `server` made fail, until they succeed or the worker is to stop.

    `observe` is told that the outage has begun, and that it is over. `meanwhile` is called with the error before
    each pause; an error that it raises ends the wait.
    """

    def __init__(
        self,
        server: Server,
        is_outage: Callable[[BaseException], bool],
        stop: StopSignal,
        meanwhile: Callable[[BaseException], object] = lambda _: None,
        *,
        queue: str = "",
        observe: Observer | None = None,
    ) -> None:
        self._server = server
        self._stop = stop
        self._meanwhile = meanwhile
        self._queue = queue
        self._observe = observe or LogObserver()
        self._since: float | None = None
        self.outages = 0
        self._retrying = Retrying(
            retry=retry_if_exception(is_outage),
            wait=wait_random_exponential(multiplier=0.1, max=_LONGEST_PAUSE_SECONDS),
            sleep=lambda seconds: _wait(stop, seconds),
            stop=lambda _: stop.is_set(),
            before_sleep=self._note_outage,
        )

    @property
    def waiting_seconds(self) -> float:
        """For how long the server has been waited for; 0 when it is not."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    def call(self, function: Callable[[], T]) -> T:
        """Return the result of `function`, however long the server is away.

        Raises `Interrupted` when the worker is to stop before that. Other errors are raised as they are.
        """
        end_if_child()
        try:
            result = self._retrying(function)
        except RetryError as error:
            raise Interrupted(f"stopped while waiting for {self._server}") from error.last_attempt.exception()
        self._note_recovery()
        return result

    def _note_outage(self, state: RetryCallState) -> None:
        end_if_child()  # its connections are cut
        error = state.outcome.exception() if state.outcome is not None else None
        if error is None:
            return
        if self._since is None:
            self._since = time.monotonic()
            self.outages += 1
            self._observe(OutageBegan(self._queue, self._server, first_line(error)))
        self._meanwhile(error)

    def _note_recovery(self) -> None:
        if self._since is not None and not self._stop.is_set():  # what is called then may not have asked the server
            self._observe(OutageEnded(self._queue, self._server, time.monotonic() - self._since))
            self._since = None


def _wait(stop: StopSignal, seconds: float) -> None:
    stop.wait(seconds)


def first_line(error: BaseException | None) -> str:
    """Return the first line of the server's first error. Later errors in the chain are only its consequences."""
    said = [link for link in chain_of(error) if isinstance(link, (psycopg.Error, RedisError))]
    cause = said[-1] if said else error
    if isinstance(cause, RedisError):
        return told(cause)
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__
