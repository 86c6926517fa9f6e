"""Tells systemd that the service is ready, works, and ends: sd_notify(3), `Type=notify` and `WatchdogSec=`.

The protocol is a datagram to the socket that systemd names; a library would be longer than that.
"""

import os
import socket
from contextlib import suppress

__all__ = ["notify", "watchdog_seconds"]


def notify(*assignments: str) -> None:
    """Send `NAME=value` assignments; does nothing where systemd did not start this process with a socket to notify."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
        connection.sendto("\n".join(assignments).encode(), address)


def watchdog_seconds() -> float | None:
    """Return how often systemd wants to hear `WATCHDOG=1`, at least; None if it does not (sd_watchdog_enabled(3))."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdigit() and int(microseconds) else None
