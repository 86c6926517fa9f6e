"""Tells a process to finish."""

import os
import select
import time

from streamfea.core.descriptors import identity


class StopSignal:
    """Set once, by a signal handler or another thread; waits end early when it is.

    Looks like a `threading.Event`, whose lock a signal handler must not take: the very wait that the signal
    interrupts may hold it.
    """

    def __init__(self) -> None:
        self._set = False
        self._reader, self._writer = os.pipe()
        self._identity = identity(self._reader)

    def set(self) -> None:
        """Ask to finish; safe in a signal handler."""
        if not self._set:
            self._set = True
            if self._is_open():
                os.write(self._writer, b"\0")

    def is_set(self) -> bool:
        """Tell whether finishing was asked for."""
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds, less when it is set; return whether it is."""
        if not self._set and not self._is_open():
            time.sleep(1.0 if timeout is None else min(timeout, 1.0))
        elif not self._set:
            readable = select.poll()  # select() cannot wait for descriptors from 1024 on
            readable.register(self._reader, select.POLLIN)
            readable.poll(None if timeout is None else timeout * 1000)
        return self._set

    def fileno(self) -> int:
        """Return a descriptor that is readable once it is set, for a wait on several things."""
        return self._reader

    def _is_open(self) -> bool:
        """Tell whether the descriptors are still the pipe: a handler may have closed them all, and opened others."""
        return identity(self._reader) == identity(self._writer) == self._identity

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._reader)
        os.close(self._writer)


class StopAtOnce(KeyboardInterrupt):
    """Raised by a second signal without a supervisor. A handler may raise KeyboardInterrupt itself."""
