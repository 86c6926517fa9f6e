"""Standard output and error that never block work when nobody reads the pipe or the disk is full."""

import io
import os
import select
import socket
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

__all__ = ["UnblockedWriter", "lines_lost", "open_missing", "unblock"]

# A reader that is merely slow is waited for; one that has kept us waiting is not, until it reads again.
_PATIENCE_SECONDS = 1.0
_LOST = {"lines": 0}


def open_missing() -> None:
    """Open standard input, output and error if the caller has closed them.

    Otherwise the next file or connection would get its number, and what is printed.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False))  # noqa: SIM115 - for as long as the process lives


def unblock() -> None:
    """Make `sys.stdout` and `sys.stderr` drop unread output instead of waiting or failing."""
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        with suppress(OSError, ValueError):
            getattr(sys, name).flush()
        raw: Any = UnblockedWriter(descriptor)  # takes everything at once, so that nothing need be buffered
        stream = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
        setattr(sys, name, stream)


def lines_lost() -> int:
    """Return how many lines have been dropped since this was asked last."""
    lost, _LOST["lines"] = _LOST["lines"], 0
    return lost


class UnblockedWriter(io.RawIOBase):
    """Writes to a descriptor what it takes within a second; drops the rest."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._send = _sender(descriptor)
        self._is_stuck = False
        self._is_torn = False

    def writable(self) -> bool:
        """Tell that this is for writing."""
        return True

    def isatty(self) -> bool:
        """Tell whether somebody looks at it."""
        return os.isatty(self._descriptor)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def write(self, data: Any) -> int:
        """Write `data`, as far as that goes; return its length."""
        left = memoryview(b"\n" + bytes(data) if self._is_torn else bytes(data))
        size = len(left)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        # A pipe that has no room for a line may still have some for a part of one.
        self._is_stuck = self._is_stuck and not self._can_write_by(0)
        while left and not self._is_stuck:
            try:
                left = left[self._send(left) :]
            except BlockingIOError:
                self._is_stuck = not self._can_write_by(deadline)
            except OSError:  # closed, or no room on the disk
                break
        if left:
            _LOST["lines"] += bytes(left).count(b"\n")
        self._is_torn = (bool(left) and len(left) < size) or (self._is_torn and len(left) == size)
        return len(data)

    def _can_write_by(self, deadline: float) -> bool:
        writable = select.poll()
        writable.register(self._descriptor, select.POLLOUT)
        return bool(writable.poll(max(0.0, deadline - time.monotonic()) * 1000))


def _sender(descriptor: int) -> Callable[[memoryview], int]:
    """Return a function that writes to a descriptor, and raises `BlockingIOError` instead of waiting.

    O_NONBLOCK would hold for everybody who has the same pipe or terminal, so it is opened anew.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        connection = socket.socket(fileno=os.dup(descriptor))
        return lambda data: connection.send(data, socket.MSG_DONTWAIT)
    if stat.S_ISREG(mode):  # anew, it would begin at the start
        return lambda data: os.write(descriptor, data)
    try:
        again = os.open(f"/dev/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return lambda data: _write_if_possible(descriptor, data)
    return lambda data: os.write(again, data)


def _write_if_possible(descriptor: int, data: memoryview) -> int:
    """Write as much as a pipe takes at once, unless another process fills it first."""
    writable = select.poll()
    writable.register(descriptor, select.POLLOUT)
    if not writable.poll(0):
        raise BlockingIOError
    return os.write(descriptor, data[: select.PIPE_BUF])
