"""The house is kept: tests share what is in tests/support, and private parts of others are behind their doors."""

import ast
from collections.abc import Iterator
from pathlib import Path

_TESTS = Path(__file__).parents[1]
_PACKAGE = _TESTS.parent / "streamfea"
# Documented in spite of the underscore: Python's own, and arguments of redis-py.
_DOCUMENTED = {"_exit", "_getframe", "_replace", "_type"}


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


def test_private_parts_of_libraries_are_named_in_modules_of_internals_only() -> None:
    modules = {path: ast.parse(path.read_text()) for path in sorted(_PACKAGE.rglob("*.py"))}
    ours = {name for path, module in modules.items() if not _is_door(path) for name in _own_names(module)}
    found = [
        (path.name, name)
        for path, module in modules.items()
        if not _is_door(path)
        for name in _private_names(module)
        if name not in ours | _DOCUMENTED
    ]
    assert found == [], "name it in internals.py, or the like for another library, with its meaning and a test"


def test_no_private_part_is_asked_for_with_a_default() -> None:
    doors = [ast.parse(path.read_text()) for path in _PACKAGE.rglob("*.py") if _is_door(path)]
    assert doors
    assert not {name for module in doors for name in _called(module)} & {"getattr", "hasattr", "suppress"}


def _is_door(path: Path) -> bool:
    return path.stem.endswith("internals")


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _own_names(module: ast.Module) -> Iterator[str]:
    """Yield the private names that a module itself defines: functions, fields, attributes of its own objects."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr
        elif isinstance(node, ast.arg):
            yield node.arg


def _private_names(module: ast.Module) -> Iterator[str]:
    """Yield the private names that a module takes from objects, gives to them by keyword, or imports."""
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            yield node.attr
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("streamfea"):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from filter(_is_private, names)
        elif isinstance(node, ast.Call):
            called = [*node.args[1:2]] if ast.unparse(node.func) in {"getattr", "hasattr", "setattr"} else []
            literal = [argument.value for argument in called if isinstance(argument, ast.Constant)]
            keywords = [keyword.arg for keyword in node.keywords if keyword.arg is not None]
            yield from (name for name in (*literal, *keywords) if isinstance(name, str) and _is_private(name))
