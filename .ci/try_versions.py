"""Run the core of the tests with the lowest and the newest versions of libraries that the bounds allow.

    python .ci/try_versions.py [lowest-direct|highest|pre-release]...

The tests of private parts of libraries run, too. With pre-releases the tests may fail, which is only said. The pins of
`[tool.uv]` are left out of it: they hold for a clone only, and an installation takes what the bounds allow.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

_ROOT = Path(__file__).parents[1]
_LIBRARIES = ("sqlalchemy", "psycopg", "redis", "hiredis", "alembic", "pydantic", "typer")


_LEGS = {
    "lowest-direct": ("--resolution", "lowest-direct"),
    "highest": ("--resolution", "highest"),
    "pre-release": ("--resolution", "highest", "--prerelease", "allow"),
}
_TESTS = (
    ("-m", "core"),
    ("tests/unit/test_internals.py", "tests/unit/test_internals_of_drivers.py"),
)


def main(legs: list[str]) -> int:
    """Try each leg; return 1 if the tests of one fail that has no pre-releases."""
    failed = []
    tried: set[str] = set()
    for leg in legs or _LEGS:
        with TemporaryDirectory() as folder:
            installed = _install(folder, *_LEGS[leg])
            if installed in tried:
                print(f"{leg}: the same versions as before", flush=True)
            elif not _passes(leg, folder, installed):
                failed.append(leg)
            tried.add(installed)
    for leg in failed:
        print(f"the core of the tests fails with {leg}{_excuse(leg)}", file=sys.stderr)
    return any(not _excuse(leg) for leg in failed)


def _excuse(leg: str) -> str:
    return ", which is allowed" if leg == "pre-release" else ""


def _install(folder: str, *options: str) -> str:
    """Install what the options say, and the tools of the tests at any version that goes with these.

    Returns the versions, as `uv pip freeze` prints them, without those of the tools.
    """
    python = Path(folder) / "bin" / "python"
    # Outside of the project, whose pins uv would heed.
    _run(folder, "uv", "venv", "--quiet", "--clear", "--python", sys.executable, folder)
    install = (folder, "uv", "pip", "install", "--quiet", "--python", str(python))
    _run(*install, *options, "--editable", f"{_ROOT}[embedded]")
    installed = _run(folder, "uv", "pip", "freeze", "--quiet", "--python", str(python), "--exclude-editable")
    constraints = Path(folder) / "constraints.txt"
    constraints.write_text(installed)
    _run(*install, "--constraints", str(constraints), "--group", f"{_ROOT / 'pyproject.toml'}:dev")
    return installed


def _passes(leg: str, folder: str, installed: str) -> bool:
    versions = [line for line in installed.splitlines() if line.partition("==")[0] in _LIBRARIES]
    print(f"{leg}: {', '.join(versions)}", flush=True)
    command = [str(Path(folder) / "bin" / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2"]
    if leg == "lowest-direct":  # old versions may warn of what newer ones have mended
        command += ["-o", "filterwarnings="]
    results = [
        subprocess.run([*command, *tests], cwd=_ROOT, env=_environment(), check=False).returncode for tests in _TESTS
    ]
    return not any(results)


def _run(folder: str, *command: str) -> str:
    result = subprocess.run(command, cwd=folder, env=_environment(), capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout}{result.stderr}")
    return result.stdout


def _environment() -> dict[str, str]:
    left_out = ("VIRTUAL_ENV", "UV_CONSTRAINT", "UV_PROJECT", "STREAMFEA_", "PYTHON")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
