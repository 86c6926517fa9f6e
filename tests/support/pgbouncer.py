"""A real PgBouncer in front of the tests' PostgreSQL."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, make_url

from tests.support.servers import free_port, listens
from tests.support.waiting import wait_until

__all__ = ["pgbouncer"]

_INI = """
[databases]
* = {server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
server_login_retry = 1
idle_transaction_timeout = 10
max_client_conn = 100
"""


@contextmanager
def pgbouncer(folder: Path, database_url: str, mode: str = "transaction", size: int = 2) -> Iterator[URL]:
    """Run PgBouncer in `folder` with `size` connections to the server of `database_url`; yield the URL through it.

    It takes no startup parameters, such as `options`, so these are not in the URL.
    """
    url = make_url(database_url)
    host = str(url.query.get("host") or url.host)
    server = f"host={host} port={url.port or 5432} user={url.username} dbname={url.database}"
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    ini, log = folder / "pgbouncer.ini", folder / "pgbouncer.log"
    ini.write_text(_INI.format(server=server, port=port, mode=mode, size=size))
    with log.open("ab") as file:
        process = subprocess.Popen([*_as_owner(Path(host)), _executable(), str(ini)], stdout=file, stderr=file)
    try:
        wait_until(lambda: listens(port) or process.poll() is not None, "PgBouncer listens")
        assert process.poll() is None, log.read_text()
        yield URL.create("postgresql+psycopg", url.username, host="127.0.0.1", port=port, database=url.database)
    finally:
        process.kill()
        process.wait()


def _executable() -> str:
    """Return the program; where it is missing, Debian's root installs it."""
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        for command in (["update"], ["install", "-y", "--no-install-recommends", "pgbouncer"]):
            subprocess.run(["apt-get", "-q", *command], check=True, capture_output=True)
    return found or "/usr/sbin/pgbouncer"


def _as_owner(host: Path) -> list[str]:
    """Return what root starts it with, as whom it does not run: an embedded server lets its owner in."""
    if os.geteuid() != 0:
        return []
    socket = host / ".s.PGSQL.5432"
    owner = socket.owner() if socket.exists() else "nobody"
    capability = "+dac_override"  # to enter the folders of root's that lead to the socket
    return [
        "setpriv", f"--reuid={owner}", "--clear-groups", f"--inh-caps={capability}", f"--ambient-caps={capability}",
    ]  # fmt: skip
