"""Commands whose terminal, output and end a test looks at, at no cost of a start."""

import os
import pty
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.support.commands import HANDLERS, Project
from tests.support.forks import forked_command

__all__ = ["forked", "on_terminal", "run"]

_SECONDS = 60


def run(project: Project, *arguments: str, expect: int = 0, stdin: str = "", columns: int | None = None) -> str:
    """Run a command to its end; return what it wrote, to stdout and after that to stderr."""
    out, err = project.folder / "stdout", project.folder / "stderr"
    (project.folder / "stdin").write_text(stdin)
    environment = {"COLUMNS": str(columns)} if columns else {}
    with forked(project, *arguments, stdin=project.folder / "stdin", out=out, err=err, **environment) as process:
        process.join(_SECONDS)
    told = out.read_bytes().decode() + err.read_bytes().decode()
    assert process.exitcode == expect, f"exit code {process.exitcode}\n{told}"
    return told


def on_terminal(project: Project, *arguments: str, expect: int = 0) -> str:
    """Run a command on a terminal; return all that the terminal was sent."""
    reader, end = pty.openpty()
    name = Path(os.ttyname(end))
    with forked(project, *arguments, stdin=name, out=name, err=name, TERM="xterm-256color") as process:
        sent = b"".join(_sent_to(reader, process, end))
    os.close(reader)
    assert process.exitcode == expect, sent.decode()
    return sent.decode()


@contextmanager
def forked(
    project: Project, *arguments: str, stdin: Path, out: Path, err: Path, **environment: str
) -> Iterator[BaseProcess]:
    """Start a command; end it, if it still runs, afterwards."""
    given = {**os.environ, "STREAMFEA_CONFIG": str(project.config), **environment}
    with forked_command(arguments, given, HANDLERS, stdin=stdin, out=out, err=err) as process:
        yield process


def _sent_to(terminal: int, process: BaseProcess, end: int) -> Iterator[bytes]:
    """Yield what a terminal is sent, as it comes, to the end of the process."""
    while process.is_alive():
        if select.select([terminal], [], [], 0.05)[0]:
            yield os.read(terminal, 65536)
    os.close(end)
    with suppress(OSError):  # reading fails once nobody has it open any more
        while part := os.read(terminal, 65536):
            yield part
