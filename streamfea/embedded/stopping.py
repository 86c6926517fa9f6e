"""Finds and stops the embedded server of a folder."""

import os
import signal
from pathlib import Path

from streamfea.embedded.files import wait_for

__all__ = ["POSTGRESQL_DATA", "VALKEY_PID_FILE", "server_pid", "stop"]

VALKEY_PID_FILE = "valkey.pid"
POSTGRESQL_DATA = "data"
"""The folder of PostgreSQL's files, in that of the server."""

_POSTGRESQL_PID_FILE = f"{POSTGRESQL_DATA}/postmaster.pid"
_STOP_SECONDS = 60.0
_PROGRAMS = {"valkey-server", "redis-server", "postgres"}


def server_pid(directory: Path) -> int | None:
    """Return the process id of the server that runs in `directory`, or None."""
    for name in (VALKEY_PID_FILE, _POSTGRESQL_PID_FILE):
        try:
            pid = int((directory / name).read_text().splitlines()[0])
        except (FileNotFoundError, NotADirectoryError, IndexError, ValueError):
            continue
        if _is_server(pid):
            return pid
    return None


def stop(directory: Path, *, at_once: bool = False) -> bool:
    """Stop the server in `directory` and wait until it is gone; return whether there was one.

    `at_once` does not let it finish anything, as a crash would not. Raises `EmbeddedServerError` when it will not end.
    """
    directory = directory.absolute()
    pid = server_pid(directory)
    if pid is None:
        return False
    is_postgresql = (directory / _POSTGRESQL_PID_FILE).exists()
    # PostgreSQL manual, "Shutting Down the Server": SIGINT is the fast, SIGQUIT the immediate shutdown.
    graceful, abrupt = (signal.SIGINT, signal.SIGQUIT) if is_postgresql else (signal.SIGTERM, signal.SIGKILL)
    os.kill(pid, abrupt if at_once else graceful)
    wait_for(lambda: not _is_server(pid), _STOP_SECONDS, f"the server in {directory} (process {pid}) does not end")
    if at_once:
        (directory / VALKEY_PID_FILE).unlink(missing_ok=True)
    return True


def _is_server(pid: int) -> bool:
    """Tell whether `pid` is a running server, and no other process that got its number after a reboot."""
    if Path("/proc/self").exists():
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            return state != "Z" and Path(f"/proc/{pid}/comm").read_text().strip() in _PROGRAMS
        except (FileNotFoundError, ProcessLookupError):
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
