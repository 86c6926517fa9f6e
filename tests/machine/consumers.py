"""The consumers under test: several `streamfea consume`, each started again when it dies, as by an init system."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import BinaryIO

import psutil

from tests.machine.history import History
from tests.machine.processes import family, send
from tests.support.commands import HANDLERS

__all__ = ["Fleet", "command"]

_ROOT = Path(__file__).parents[2]
_LOOK_EVERY_SECONDS = 0.05
_END_WITHIN_SECONDS = 20.0


def command(config: Path, *arguments: str, sabotage: str = "") -> tuple[list[str], dict[str, str]]:
    """Return how to start a command, with a bug put in if `sabotage` names one, and its environment."""
    environment = {
        **os.environ,
        "STREAMFEA_CONFIG": str(config),
        "PYTHONPATH": str(_ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MACHINE_SABOTAGE": sabotage,
    }
    return [sys.executable, "-m", "tests.machine.launch", *arguments], environment


class Fleet:
    """Keeps `size` supervisors running, each with its workers and shim."""

    def __init__(self, config: Path, log: Path, history: History, *, size: int = 2, sabotage: str = "") -> None:
        self._config = config
        self._log = log
        self._history = history
        self._sabotage = sabotage
        self._places: list[subprocess.Popen[bytes] | None] = [None] * size
        self._killed: set[int] = set()
        self._ended = threading.Event()

    @contextmanager
    def running(self) -> Iterator["Fleet"]:
        """Keep them running meanwhile; ask them to finish afterwards."""
        with self._log.open("ab") as log:
            thread = threading.Thread(target=self._keep, args=(log,), name="fleet")
            thread.start()
            try:
                yield self
            finally:
                self._ended.set()
                thread.join()
                self._end()
        self._note_crashes()

    def kill_a_worker(self, random: Random) -> None:
        """Kill one of the processes that the supervisors have started."""
        children = [child for supervisor in self._supervisors() for child in _children(supervisor)]
        send(random.sample(children, min(1, len(children))), signal.SIGKILL)

    def kill_a_supervisor(self, random: Random) -> None:
        """Kill a supervisor; its workers have to notice."""
        self._kill([random.choice(self._supervisors())])

    def kill_all_of_one(self, random: Random) -> None:
        """Kill a supervisor and all its workers at once, as a crash of their machine does."""
        supervisor = random.choice(self._supervisors())
        children = _children(supervisor)
        self._kill([supervisor])
        send(children, signal.SIGKILL)

    def stop_for_a_while(self, random: Random, seconds: float) -> None:
        """SIGSTOP any process, and let it go on after a while."""
        everyone = self._everyone()
        chosen = random.sample(everyone, min(1, len(everyone)))
        send(chosen, signal.SIGSTOP)
        time.sleep(seconds)
        send(chosen, signal.SIGCONT)

    def restart_in_turn(self) -> None:
        """Have each finish, and start again: a rolling restart."""
        for supervisor in self._supervisors():
            self._killed.add(supervisor.pid)
            supervisor.send_signal(signal.SIGTERM)
            try:
                supervisor.wait(_END_WITHIN_SECONDS)
            except subprocess.TimeoutExpired:
                self._history.trouble.append(("consume does not end", f"{_END_WITHIN_SECONDS} s after SIGTERM"))
                self._kill([supervisor])

    def _supervisors(self) -> "list[subprocess.Popen[bytes]]":
        return [one for one in self._places if one is not None]

    def _everyone(self) -> list[psutil.Process]:
        return [one for supervisor in self._supervisors() for one in family(supervisor.pid)]

    def _kill(self, supervisors: "list[subprocess.Popen[bytes]]") -> None:
        for supervisor in supervisors:
            self._killed.add(supervisor.pid)
            supervisor.kill()

    def _keep(self, log: BinaryIO) -> None:
        while not self._ended.wait(_LOOK_EVERY_SECONDS):
            for index, supervisor in enumerate(self._places):
                if supervisor is not None and supervisor.poll() is None:
                    continue
                if supervisor is not None and supervisor.pid not in self._killed:
                    self._history.trouble.append(("consume ended by itself", f"exit code {supervisor.returncode}"))
                arguments, environment = command(
                    self._config, "consume", "--name", f"m{index}", sabotage=self._sabotage
                )
                self._places[index] = subprocess.Popen(
                    arguments, cwd=HANDLERS, env=environment, stdout=log, stderr=log, start_new_session=True
                )

    def _end(self) -> None:
        supervisors = self._supervisors()
        everyone = self._everyone()
        send(everyone, signal.SIGCONT)
        for supervisor in supervisors:
            supervisor.terminate()
        psutil.wait_procs(everyone, _END_WITHIN_SECONDS)
        send([one for one in everyone if one.is_running()], signal.SIGKILL)
        for supervisor in supervisors:
            supervisor.wait()

    def _note_crashes(self) -> None:
        """Note workers that died of an exception: no fault may cause that.

        A worker whose name went to another process, with the last second of Redis' memory, ends at once on purpose.
        """
        displaced: list[str] = []
        for line in self._log.read_text(errors="replace").splitlines():
            if found := re.search(r"another process consumes under this name: ending at once\s+name=(\S+)", line):
                displaced.append(found[1])
            if " died" in line and "exit code 1" in line:
                consumer = re.search(r"consumer=(\S+)", line)
                if consumer is not None and consumer[1] in displaced:
                    displaced.remove(consumer[1])
                else:
                    self._history.trouble.append(("a worker crashed", line.strip()))


def _children(supervisor: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    return family(supervisor.pid)[1:] if supervisor.poll() is None else []
