"""Identifies a process: its host name and process id are not unique, so its namespace and start count, too.

Containers may share a host name, and each counts its processes from 1; a container that is restarted in place gives its
processes the same ids again. The namespace of process ids, the boot that it belongs to and the time when a process was
started tell them apart.
"""

import os
import socket
import subprocess
from functools import cache
from hashlib import sha256
from pathlib import Path

__all__ = ["namespace", "own_start", "started", "still_runs"]

_PROC = Path("/proc")
_GONE = ("Z", "X", "x")
# Fields of /proc/PID/stat after the name: state, and starttime, in ticks since the machine booted (proc(5)).
_STATE, _STARTED = 0, 19


@cache
def namespace() -> str:
    """Return 8 hexadecimal digits for the namespace of process ids that this process is in."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text()
        inode = (_PROC / "self/ns/pid").stat().st_ino
    except OSError:  # no Linux, hence no namespaces
        boot, inode = socket.gethostname(), 0
    return sha256(f"{boot.strip()} {inode}".encode()).hexdigest()[:8]


def started(pid: int) -> str | None:
    """Return something that no other process with this id has, by when it was started; None when none runs."""
    if not (_PROC / "self/stat").exists():
        return _started_by_ps(pid)
    try:
        about = (_PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if about[_STATE] in _GONE else f"{int(about[_STARTED]):x}"


def still_runs(pid: int, since: str) -> bool:
    """Tell whether the process of this namespace runs that was started at that time."""
    return started(pid) == since


def _started_by_ps(pid: int) -> str | None:
    told = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return sha256(told.strip().encode()).hexdigest()[:8] if told.strip() else None


def own_start() -> str:
    """Return when this process was started."""
    return started(os.getpid()) or "0"
