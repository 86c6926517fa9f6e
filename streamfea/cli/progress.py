"""Shows the progress of a job on a terminal. Ctrl-C interrupts it between two steps."""

import signal
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamfea.admin.job import Job
from streamfea.errors import StreamfeaError

__all__ = ["run"]

_SHOW_AFTER_SECONDS = 1.0


def run(job: Job) -> None:
    """Do a job, step by step.

    On a terminal a bar is shown once that has taken a second. The first Ctrl-C ends the job after the step that is
    under way, so that what is done is known; a second one ends it at once. Raises `StreamfeaError` that says what is
    done, then and when Redis fails.
    """
    progress = _Progress(job)
    before = signal.signal(signal.SIGINT, progress.interrupt)
    try:
        for count in job:
            progress.advance(count)
    except _Interrupted:
        raise StreamfeaError(f"interrupted; {job.so_far()}") from None
    finally:
        signal.signal(signal.SIGINT, before)
        progress.end()


class _Interrupted(Exception):  # noqa: N818 - what the user asked for
    pass


class _Progress:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._done = 0
        self._show_at = time.monotonic() + _SHOW_AFTER_SECONDS
        self._bar: Progress | None = None
        self._interrupted = False

    def advance(self, count: int) -> None:
        self._done += count
        if self._bar is None and time.monotonic() >= self._show_at and sys.stderr.isatty():
            self._bar = _bar()
            self._bar.add_task(self._job.doing, total=self._job.total or None)
            self._bar.start()
        if self._bar is not None:
            done = min(self._done, self._job.total) if self._job.total else self._done
            self._bar.update(self._bar.task_ids[0], completed=done)
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
