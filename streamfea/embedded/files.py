"""The folders of embedded servers: locks, short paths, programs; all of them their owner's alone."""

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from streamfea.errors import StreamfeaError

__all__ = ["EmbeddedServerError", "chosen_program", "locked", "private_folder", "reachable", "wait_for"]

# The longest path of a unix socket is 107 bytes on Linux and 103 on macOS (unix(7), sun_path).
_LONGEST_SOCKET_PATH = 103
_SHORTEST_FOLDER = Path("/tmp")  # noqa: S108 - what is made in there is a folder of one's own


class EmbeddedServerError(StreamfeaError):
    """An embedded server cannot be started or stopped; the message says what to install or where to look."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Let one process at a time look whether a server runs in `directory`, and start it.

    A folder that is not there is made, for its owner alone; one that is there stays as it is.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(directory / "lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EmbeddedServerError(f"cannot keep a server in {directory}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def reachable(directory: Path, socket: str) -> Path:
    """Return a path of `directory` under which the socket in it can be reached.

    That is its own, unless that is longer than a socket's path may be, or has a comma, at which libpq would split it.
    Then it is a symbolic link in a folder of one's own: the socket itself stays where everything else is.
    """
    if len(os.fsencode(directory / socket)) <= _LONGEST_SOCKET_PATH and "," not in str(directory):
        return directory
    link = private_folder() / sha256(os.fsencode(directory)).hexdigest()[:16]
    try:
        if not link.is_symlink() or link.readlink() != directory:
            link.unlink(missing_ok=True)
            link.symlink_to(directory)
    except FileExistsError:  # another process was faster
        return reachable(directory, socket)
    return link


def private_folder() -> Path:
    """Return a folder of this user's with a short path, the same for all processes."""
    name = f"streamfea-{os.getuid()}"
    there = Path(tempfile.gettempdir())
    private = (there if len(os.fsencode(there)) + len(name) < _LONGEST_SOCKET_PATH // 2 else _SHORTEST_FOLDER) / name
    try:
        private.mkdir(mode=0o700, exist_ok=True)
        found = private.lstat()
    except OSError as error:
        raise EmbeddedServerError(f"cannot make {private}: {error.strerror}; set TMPDIR to another folder") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise EmbeddedServerError(f"{private} belongs to someone else: set TMPDIR to a folder of your own")
    if stat.S_IMODE(found.st_mode) & 0o077:
        private.chmod(0o700)
    return private


def chosen_program(variable: str, value: str, program: Path) -> str:
    """Return the program that the environment names, if it exists."""
    if not os.access(program, os.X_OK):
        raise EmbeddedServerError(f"there is no program {program} to start: correct {variable}, or unset it")
    return value


def wait_for(condition: Callable[[], bool], seconds: float, problem: str) -> None:
    """Wait until `condition` holds; raises `EmbeddedServerError` with `problem` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise EmbeddedServerError(problem)
        time.sleep(0.02)
