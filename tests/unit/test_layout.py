"""The tests keep their own house: what they share is in tests/support, and they wait for conditions."""

import ast
from collections.abc import Iterator
from pathlib import Path

_TESTS = Path(__file__).parents[1]


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(_TESTS.rglob("test_*.py")):
        yield str(path.relative_to(_TESTS)), ast.parse(path.read_text())


def _imported(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _called(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def _is_test(name: str) -> bool:
    return name.startswith("tests.") and any(part.startswith("test_") for part in name.split("."))


def test_no_test_imports_another() -> None:
    found = [(path, name) for path, module in _modules() for name in _imported(module) if _is_test(name)]
    assert found == [], "helpers belong to tests/support, fixtures to a conftest.py"


def test_no_test_sleeps() -> None:
    found = [(path, name) for path, module in _modules() for name in _called(module) if name in {"sleep", "time.sleep"}]
    assert found == [], "wait for a condition: tests.support.waiting.wait_until"


def test_no_test_prints() -> None:
    found = [path for path, module in _modules() if "print" in _called(module)]
    assert found == [], "an assertion's message is for that"
