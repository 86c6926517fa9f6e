"""Tells whether a file descriptor still belongs to the file that it was opened for.

A handler may close numbers that are not its own, as `os.closerange()` does; whatever is opened next gets such a number.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["identity", "kept_open"]


def identity(descriptor: int) -> tuple[int, int] | None:
    """Return an identity that no other open file has; None when this one is closed."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def kept_open(descriptor: int) -> Iterator[None]:
    """Let a former owner write to a number and close it, and leave it to the present owner as it was."""
    kept, nothing = os.dup(descriptor), os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(nothing, descriptor, inheritable=False)
        yield
    finally:
        os.dup2(kept, descriptor, inheritable=False)
        os.close(kept)
        os.close(nothing)
