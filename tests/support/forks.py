"""Commands in processes forked from one that has imported everything already: a start costs milliseconds.

Real processes, with descriptors, exit codes and signals of their own; only the interpreter's start is spared.
"""

import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from pkgutil import walk_packages

import streamfea

__all__ = ["forked_command"]

_FORKS = multiprocessing.get_context("forkserver")
_MODULES = [found.name for found in walk_packages(streamfea.__path__, "streamfea.") if "__main__" not in found.name]
_FORKS.set_forkserver_preload(["__main__", *_MODULES, __name__])


@contextmanager
def forked_command(
    arguments: Sequence[str], environment: Mapping[str, str], cwd: Path, *, stdin: Path, out: Path, err: Path
) -> Iterator[BaseProcess]:
    """Start `streamfea` with these arguments; end it, if it still runs, afterwards."""
    process = _FORKS.Process(target=_command, args=(arguments, dict(environment), cwd, [stdin, out, err]))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def _command(arguments: Sequence[str], environment: dict[str, str], cwd: Path, files: Sequence[Path]) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in enumerate(files):
        flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(path, flags | os.O_NOCTTY), descriptor)
    sys.stdin = os.fdopen(0)
    sys.argv = ["streamfea", *arguments]
    from streamfea.cli.app import main  # noqa: PLC0415 - imported where this is forked from

    main()
