"""Work on many entries: shows how far it is, and can be interrupted between two steps."""

import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from redis.exceptions import RedisError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamfea.errors import StreamfeaError
from streamfea.streams.connection.errors import told

__all__ = ["bulk", "slices"]

T = TypeVar("T")

_SHOW_AFTER_SECONDS = 1.0


@contextmanager
def bulk(total: int, what: str, so_far: Callable[[], str]) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told after each step how many entries it dealt with, of `total`.

    On a terminal it shows a bar once that has taken a second. The first Ctrl-C ends the work after the step that is
    under way, so that what is done is known; a second one ends it at once. Raises `StreamfeaError` that says what is
    done, in the words of `so_far`, then and when Redis fails.
    """
    progress = _Progress(total, what)
    before = signal.signal(signal.SIGINT, progress.interrupt)
    try:
        yield progress.advance
    except _Interrupted:
        raise StreamfeaError(f"interrupted; {so_far()}") from None
    except RedisError as error:
        raise StreamfeaError(f"Redis: {told(error)}; {so_far()}, as far as Redis has answered") from error
    finally:
        signal.signal(signal.SIGINT, before)
        progress.end()


def slices(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of `size`."""
    part: list[T] = []
    for one in items:
        part.append(one)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


class _Interrupted(Exception):  # noqa: N818 - what the user asked for
    pass


class _Progress:
    def __init__(self, total: int, what: str) -> None:
        self._total = total
        self._what = what
        self._done = 0
        self._show_at = time.monotonic() + _SHOW_AFTER_SECONDS
        self._bar: Progress | None = None
        self._interrupted = False

    def advance(self, count: int) -> None:
        self._done += count
        if self._bar is None and time.monotonic() >= self._show_at and sys.stderr.isatty():
            self._bar = _bar()
            self._bar.add_task(self._what, total=self._total)
            self._bar.start()
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=min(self._done, self._total))
        if self._interrupted:
            raise _Interrupted

    def interrupt(self, *_: object) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True

    def end(self) -> None:
        if self._bar is not None:
            self._bar.stop()


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
