"""Keeps a worker's process a worker, whatever its handler does to it.

A process that a handler forks has a copy of everything: the session, the connections, the loop. It ends where the
handler's code ends. Without that, `sys.exit()`, an exception or a plain return would make it a second worker of the
same name, on the connections of the first.
"""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol
from weakref import WeakSet

import structlog

__all__ = ["end_if_child", "guarded", "is_child", "keep_from_children", "refuse_in_child", "take_back_signals"]

log = structlog.get_logger(__name__)

is_child = False
"""Whether a handler has forked this process. Looked at once a record, hence a plain name."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_handlers: dict[signal.Signals, Any] = {}  # what the signals are to do here; empty when nothing is guarded
_held: list[set[int | signal.Signals]] = []  # the masks of signals to restore after a fork
_connections: "WeakSet[_Connection]" = WeakSet()


class _Connection(Protocol):
    def fileno(self) -> int: ...


@contextmanager
def guarded() -> Iterator[None]:
    """Guard this process from now on, whose handlers of signals are in place; a forked child does not come back."""
    _handlers.update({number: signal.getsignal(number) for number in _SIGNALS})
    try:
        yield
        end_if_child()
    except BaseException as error:
        end_if_child(error)
        raise
    finally:
        _handlers.clear()


def end_if_child(error: BaseException | None = None) -> None:
    """End this process if a handler has forked it, as Python ends one: `error` decides the exit code."""
    if not is_child:
        return
    code: object = error.code if isinstance(error, SystemExit) else error
    if code is not None and not isinstance(code, int):
        log.error("a process that the handler forked has failed", pid=os.getpid(), exc_info=error)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code & 0xFF if isinstance(code, int) else int(code is not None))


def refuse_in_child() -> None:
    """Raise `RuntimeError` in a process that a handler has forked."""
    if is_child:
        raise RuntimeError("a process that a handler forks cannot use the handler's dbsession: it is its parent's")


def keep_from_children(connection: _Connection) -> None:
    """Cut this connection to PostgreSQL in forked children: PostgreSQL would take their statements for the parent's."""
    _connections.add(connection)


def take_back_signals() -> None:
    """Undo what a handler has changed about the signals that stop a worker."""
    changed = [number for number, ours in _handlers.items() if signal.getsignal(number) is not ours]
    for number in changed:
        signal.signal(number, _handlers[number])
        log.debug("the handler changed what a signal does; it is changed back", signal=number.name)


def _before_fork() -> None:
    """Hold signals back until the child has its own handlers: a `terminate()` that comes earlier would be lost."""
    if _handlers:
        _held.append(signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS))


def _after_fork() -> None:
    if _held:
        signal.pthread_sigmask(signal.SIG_SETMASK, _held.pop())


def _after_fork_in_child() -> None:
    global is_child  # noqa: PLW0603 - a process has one such state, and a record no time to ask for it
    if not _handlers:
        return
    is_child = True
    for number, ours in _handlers.items():
        if callable(ours) and signal.getsignal(number) is ours:  # it would tell the parent to stop
            signal.signal(number, signal.SIG_DFL)
    for connection in list(_connections):
        with suppress(Exception):  # closed already
            _cut(connection.fileno())
    _after_fork()


def _cut(descriptor: int) -> None:
    """Put a socket whose other end is closed in the place of `descriptor`."""
    ours, other = socket.socketpair()
    with ours:
        other.close()
        os.dup2(ours.fileno(), descriptor, inheritable=False)


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
