"""Commands in processes forked from one that has imported everything already: a start costs milliseconds.

Real processes, with descriptors, exit codes and signals of their own; only the interpreter's start is spared.
"""

import multiprocessing
import os
import pty
import select
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.support.commands import HANDLERS, Project

__all__ = ["forked", "on_terminal", "run"]

_SECONDS = 60
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["__main__", "streamfea.cli.app", "streamfea.cli.dead", "tests.support.forked"])


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
    given = {"STREAMFEA_CONFIG": str(project.config), **environment}
    process = _FORKS.Process(target=_command, args=(arguments, given, [stdin, out, err]), daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def _command(arguments: Sequence[str], environment: dict[str, str], files: Sequence[Path]) -> None:
    os.chdir(HANDLERS)
    os.environ.update(environment)
    for descriptor, path in enumerate(files):
        flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(path, flags | os.O_NOCTTY), descriptor)
    sys.stdin = os.fdopen(0)
    sys.argv = ["streamfea", *arguments]
    from streamfea.cli.app import main  # noqa: PLC0415 - imported where this is forked from

    main()


def _sent_to(terminal: int, process: BaseProcess, end: int) -> Iterator[bytes]:
    """Yield what a terminal is sent, as it comes, to the end of the process."""
    while process.is_alive():
        if select.select([terminal], [], [], 0.05)[0]:
            yield os.read(terminal, 65536)
    os.close(end)
    with suppress(OSError):  # reading fails once nobody has it open any more
        while part := os.read(terminal, 65536):
            yield part
