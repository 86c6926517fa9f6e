"""Starts processes that end with the one that started them."""

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any

from streamfea.processes.child import HELD_SIGNALS, run_in_child

__all__ = ["Liveness", "fork"]

_fork = multiprocessing.get_context("fork")

# Both ends of a pipe whose writing end only the parent holds: when that closes, its children finish and go.
Liveness = tuple[int, int]


def fork(
    main: Callable[..., None], arguments: tuple[Any, ...], name: str, liveness: Liveness
) -> tuple[ForkProcess, Connection]:
    """Start a process that runs `main`; return it and where its last words will come from."""
    receiver, sender = _fork.Pipe(duplex=False)
    process = _fork.Process(target=run_in_child, args=(main, arguments, sender, liveness), name=name)
    held = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_SIGNALS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
    sender.close()
    return process, receiver
