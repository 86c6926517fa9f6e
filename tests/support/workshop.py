"""The programs in .ci, as the recipes run them."""

import subprocess
import sys
from pathlib import Path

__all__ = ["run"]

_ROOT = Path(__file__).parents[2]


def run(script: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run a program of .ci to its end."""
    command = [sys.executable, str(_ROOT / ".ci" / script), *map(str, arguments)]
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
