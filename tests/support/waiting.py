"""Waiting in tests: for a condition, never for a time."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Return as soon as `condition` holds; fail with `what` when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain: {what}")
        _breathe()


def _breathe() -> None:
    # Between two looks at a condition.
    time.sleep(0.02)
