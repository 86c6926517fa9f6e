"""Redis servers that a test sets up as it likes: replicas, clusters, passwords, certificates."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from streamfea.embedded import valkey_executable
from tests.support.waiting import wait_until


@contextmanager
def redis_server(
    folder: Path,
    *options: str,
    executable: str | None = None,
    tls: bool = False,
    port: int | None = None,
    config: Path | None = None,
) -> Iterator[int]:
    """Run a Redis with these options, and a `config` file, on loopback, with its files in `folder`; yield its port."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    listen = ("--port", "0", "--tls-port", str(port)) if tls else ("--port", str(port))
    files = [str(config)] if config else []
    command = [
        executable or valkey_executable(),
        *files,
        "--bind",
        "127.0.0.1",
        *listen,
        "--dir",
        str(folder),
        *options,
    ]
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: listens(port) or process.poll() is not None, "the server listens")
        assert process.poll() is None, (folder / "server.log").read_text()
        yield port
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """Return a port of loopback that nobody listens on, and whose cluster bus, 10,000 above, is a port, too."""
    while True:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
        if port < 50_000:
            return port


def answers(client: Redis) -> bool:
    """Tell whether the server answers, and not only that it is loading."""
    try:
        return bool(client.ping())
    except RedisError:
        return False


def listens(port: int) -> bool:
    """Tell whether somebody listens on a port of loopback."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
