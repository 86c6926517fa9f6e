"""The queues of one `consume` that cannot work: logged, tried again from time to time, while the others go on."""

import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess

import structlog

from streamfea.errors import ConfigurationError

__all__ = ["Misfits", "last_words"]

log = structlog.get_logger(__name__)

_FIRST_DELAY_SECONDS = 1.0
_LONGEST_DELAY_SECONDS = 30.0
_SAY_AGAIN_SECONDS = 600.0


class Misfits:
    """Queues by name, each with the error that says why it cannot work.

    `start_trial(name)` starts a process that makes sure that the queue can work: exit code 0. Otherwise its last words
    say why.
    """

    def __init__(self, start_trial: Callable[[str], tuple[ForkProcess, Connection]]) -> None:
        self._start_trial = start_trial
        self._misfits: dict[str, _Misfit] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._misfits and not self._misfits[name].is_mended

    def errors(self) -> Mapping[str, ConfigurationError]:
        """Return why, by queue."""
        return {name: misfit.error for name, misfit in self._misfits.items() if not misfit.is_mended}

    def note(self, name: str, error: ConfigurationError) -> None:
        """Note that a queue cannot work, and log it: at once, when the reason changes, and from time to time."""
        now = time.monotonic()
        misfit = self._misfits.setdefault(name, _Misfit(error))
        if misfit.is_to_be_said(error, now):
            log.error("this queue cannot work; the others go on", queue=name, reason=str(error))
        misfit.plan(now)

    def try_again(self) -> None:
        """Start the trials that are due, and note how those that have ended went."""
        for name, misfit in self._misfits.items():
            if misfit.trial is None:
                if not misfit.is_mended and misfit.due_at <= time.monotonic():
                    misfit.trial, misfit.words = self._start_trial(name)
            elif not misfit.trial.is_alive():
                self._judge(name, misfit, misfit.trial)

    def _judge(self, name: str, misfit: "_Misfit", trial: ForkProcess) -> None:
        trial.join()
        misfit.trial = None
        if trial.exitcode == 0:
            misfit.is_mended = True
            log.info("this queue can work now", queue=name)
            return
        died = ConfigurationError(f"the check of queue {name} died with exit code {trial.exitcode}")
        self.note(name, last_words(misfit.words) or died)

    def end(self) -> None:
        """End the trials: they hold nothing."""
        for misfit in self._misfits.values():
            if misfit.trial is not None:
                misfit.trial.kill()
                misfit.trial.join()


class _Misfit:
    """Why a queue cannot work, when that was said, and when it is tried again."""

    def __init__(self, error: ConfigurationError) -> None:
        self.error = error
        self.is_mended = False
        self.due_at = 0.0
        self.trial: ForkProcess | None = None
        self.words: Connection | None = None
        self._said_at: float | None = None
        self._delay = _FIRST_DELAY_SECONDS

    def is_to_be_said(self, error: ConfigurationError, now: float) -> bool:
        """Take in why; tell whether that is new, or was said long ago."""
        is_known = self._said_at is not None and str(error) == str(self.error)
        self.error = error
        if is_known and now - (self._said_at or 0.0) <= _SAY_AGAIN_SECONDS:
            return False
        self._said_at = now
        return True

    def plan(self, now: float) -> None:
        """Plan the next trial, ever later ones up to a limit."""
        self.is_mended = False
        self.due_at = now + self._delay
        self._delay = min(2 * self._delay, _LONGEST_DELAY_SECONDS)


def last_words(words: Connection | None) -> ConfigurationError | None:
    """Return the error that a process has ended with, if it could say so."""
    try:
        if words is None or not words.poll():
            return None
        said: ConfigurationError = words.recv()
    except EOFError:
        return None
    return said
