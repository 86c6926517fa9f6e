"""What operators do meanwhile: look, prune and trim."""

import subprocess
from pathlib import Path
from random import Random

from tests.machine.consumers import command
from tests.machine.history import History
from tests.machine.loop import Loop
from tests.support.commands import HANDLERS

__all__ = ["Operator"]

_COMMANDS = (
    ("status", "--json"),
    ("pending", "--json"),
    ("consumers", "list", "--json"),
    ("consumers", "prune", "--idle", "1s"),
    ("trim",),
)
_LONGEST_SECONDS = 60
# One that says in a sentence that it cannot reach a server has done what it can.
_FINE = (0, 1)


class Operator(Loop):
    """Runs one command after the other; none may end with a traceback, whatever the servers do."""

    def __init__(
        self, config: Path, history: History, random: Random, *, sabotage: str = "", pause_seconds: float = 1.0
    ) -> None:
        super().__init__(pause_seconds)
        self._config = config
        self._history = history
        self._random = random
        self._sabotage = sabotage

    def step(self) -> None:
        chosen = self._random.choice(_COMMANDS)
        arguments, environment = command(self._config, *chosen, sabotage=self._sabotage)
        try:
            result = subprocess.run(
                arguments, cwd=HANDLERS, env=environment, capture_output=True, timeout=_LONGEST_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            self._history.trouble.append(("a command hangs", " ".join(chosen)))
            return
        errors = result.stderr.decode(errors="replace")
        if result.returncode not in _FINE or "Traceback" in errors:
            self._history.trouble.append((f"{' '.join(chosen)}: exit code {result.returncode}", errors[-500:]))
        self._history.injected[f"command: {' '.join(chosen[:2])}"] += 1
