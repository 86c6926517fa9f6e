"""The command, as its users start it."""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import tomli_w

from tests.support.forks import forked_command

HANDLERS = Path(__file__).parents[1] / "handlers"

_numbers = itertools.count()


class Project:
    """A folder with a configuration, and the commands run in it."""

    def __init__(self, folder: Path, redis_url: str, database_url: str, stream: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.stream = stream
        self.config = folder / "streamfea.toml"
        self._redis: dict[str, object] = {"url": redis_url}
        self._database: dict[str, object] = {"url": database_url}
        self._metrics: dict[str, object] = {}
        self.configure()

    def configure(self, handler: str = "recorder", **keys: object) -> None:
        """Write the configuration: one queue `q`, with these keys."""
        queue = {"handler": handler, "stream": self.stream, **keys}
        self.configure_queues({"q": queue})

    def configure_queues(self, queues: Mapping[str, Mapping[str, object]]) -> None:
        """Write the configuration: these queues."""
        self._settings = {"redis": self._redis, "database": self._database, "metrics": self._metrics, "queues": queues}
        self.config.write_text(tomli_w.dumps(self._settings))

    def configure_metrics(self, listen: str) -> None:
        """Serve figures and health at this address."""
        self._metrics["listen"] = listen
        self.config.write_text(tomli_w.dumps(self._settings))

    def configure_servers(self, redis: Mapping[str, object] = {}, database: Mapping[str, object] = {}) -> None:
        """Add keys to the sections of the servers."""
        self._redis.update(redis)
        self._database.update(database)
        self.config.write_text(tomli_w.dumps(self._settings))

    def settings(self) -> dict[str, Any]:
        """Return the configuration."""
        return {**self._settings}

    def run(
        self,
        *arguments: str,
        expect: int = 0,
        stdin: bytes = b"",
        timeout: float = 60,
        columns: int | None = None,
        cwd: Path = HANDLERS,
    ) -> str:
        """Run a command to its end; return what it printed."""
        output = self.folder.with_name(f"{self.folder.name}-output")  # tests look at what is in the folder
        output.mkdir(exist_ok=True)
        given, out, err = (output / f"{name}-{next(_numbers)}" for name in ("stdin", "stdout", "stderr"))
        given.write_bytes(stdin)
        environment = {**self._environment(), **({"COLUMNS": str(columns)} if columns else {})}
        with forked_command(arguments, environment, cwd, stdin=given, out=out, err=err) as process:
            process.join(timeout)
            code = process.exitcode
        printed, errors = out.read_bytes().decode(), err.read_bytes().decode()
        assert code == expect, f"exit code {code}\n{printed}\n{errors}"
        return printed if expect == 0 or printed else errors

    def json(self, *arguments: str, expect: int = 0) -> list[dict[str, Any]]:
        """Run a command with `--json`; return what it printed."""
        listed: list[dict[str, Any]] = json.loads(self.run(*arguments, "--json", expect=expect))
        return listed

    @contextmanager
    def consuming(
        self, *arguments: str, command: str = "consume", prelude: str = "", cwd: Path = HANDLERS
    ) -> "Iterator[Consumer]":
        """Run `consume`, or another command, in the background; end it, and whatever is left of it, afterwards.

        `prelude` is Python code that its process runs first.
        """
        program = ["-c", f"{prelude}\nfrom streamfea.cli.app import main; main()"] if prelude else ["-m", "streamfea"]
        log = self.folder / f"consume-{len(list(self.folder.glob('consume-*')))}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, *program, command, *arguments],
                cwd=cwd,
                env=self._environment(),
                stdout=file,
                stderr=file,
            )
        consumer = Consumer(process, log)
        try:
            yield consumer
        finally:
            consumer.end()

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "STREAMFEA_CONFIG": str(self.config)}


class Consumer:
    """A running `consume`: the supervisor and its workers."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self._log = log

    def workers(self) -> list[psutil.Process]:
        """Return the worker processes that live."""
        try:
            return psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return []

    def log(self) -> str:
        """Return what it has logged so far."""
        return self._log.read_text()

    def terminate(self, timeout: float = 30) -> int:
        """Ask it to finish; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def end(self) -> None:
        """Kill whatever is left."""
        left = self.workers()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for worker in left:
            if worker.is_running():
                worker.kill()
