"""Check that files and functions stay small enough to be held in the head.

    python .ci/sizes.py [FILE]...

A file has at most 300 lines and a function at most 50. `sizes.toml` beside this script lists what is longer, with a
limit of its own. A limit may be lowered, never raised: it has to follow what shrinks, and goes when that is small.
"""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

_FILE, _FUNCTION = 300, 50
_SLACK = 40  # a limit need not follow every line
_LIMITS = Path(__file__).with_name("sizes.toml")


def main(arguments: list[str]) -> int:
    """Print what is too long, and which limits are too high; return 1 if there is any."""
    limits = {} if arguments else tomllib.loads(_LIMITS.read_text())["limits"]
    sizes = {name: size for file in arguments or _tracked() for name, size in _sizes(Path(file))}
    problems = [
        *(_too_long(name, size, limits.get(name, _usual(name))) for name, size in sizes.items()),
        *(_too_high(name, limit, sizes.get(name, 0)) for name, limit in limits.items()),
    ]
    for problem in filter(None, problems):
        print(problem)
    return 1 if any(problems) else 0


def _too_long(name: str, size: int, limit: int) -> str:
    return f"{name} has {size} lines, more than {limit}: find the idea in it that wants a place of its own" * (
        size > limit
    )


def _too_high(name: str, limit: int, size: int) -> str:
    if not size:
        return f"{name} is gone: remove it from {_LIMITS.name}"
    if size <= _usual(name):
        return f"{name} has {size} lines: remove it from {_LIMITS.name}"
    return f"{name} has {size} lines: lower its limit in {_LIMITS.name} from {limit}" * (size < limit - _SLACK)


def _usual(name: str) -> int:
    return _FUNCTION if "::" in name else _FILE


def _sizes(file: Path) -> Iterator[tuple[str, int]]:
    """Yield the lines of a file, and of each function in it as `FILE::CLASS.FUNCTION`."""
    source = file.read_text(encoding="utf-8")
    yield str(file), len(source.splitlines())
    yield from _functions(ast.parse(source), f"{file}::")


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, int]]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield f"{prefix}{child.name}", (child.end_lineno or child.lineno) - child.lineno + 1
                yield from _functions(child, f"{prefix}{child.name}.")
            case ast.ClassDef():
                yield from _functions(child, f"{prefix}{child.name}.")
            case _:
                yield from _functions(child, prefix)


def _tracked() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    files = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [file for file in files if Path(file).exists()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
