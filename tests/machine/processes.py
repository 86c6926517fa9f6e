"""Signals to processes that may be gone by now."""

import signal
from collections.abc import Iterable

import psutil

__all__ = ["family", "send"]


def send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to those that still live."""
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def family(pid: int | None) -> list[psutil.Process]:
    """Return a process and all that it has started, itself first; none when it is gone."""
    if pid is None:
        return []
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
