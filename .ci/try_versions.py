"""Run the core of the tests with the lowest and the newest versions of libraries that the bounds allow.

    python .ci/try_versions.py [lowest-direct|highest]...

The pins of `[tool.uv]` are left out of it: they hold for a clone only, and an installation takes what the bounds allow.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

_ROOT = Path(__file__).parents[1]
_LIBRARIES = ("sqlalchemy", "psycopg", "redis", "hiredis", "alembic", "pydantic", "typer")


def main(resolutions: list[str]) -> int:
    """Try each resolution; return 1 if the tests of one fail."""
    failed = [resolution for resolution in resolutions or ["lowest-direct", "highest"] if not _passes(resolution)]
    for resolution in failed:
        print(f"the core of the tests fails with {resolution}", file=sys.stderr)
    return bool(failed)


def _passes(resolution: str) -> bool:
    with TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        # Outside of the project, whose pins uv would heed.
        _run(folder, "uv", "venv", "--quiet", "--clear", "--python", sys.executable, folder)
        install = (folder, "uv", "pip", "install", "--quiet", "--python", str(python))
        _run(*install, "--resolution", resolution, "--editable", f"{_ROOT}[embedded]")
        # The tools of the tests at any version that goes with these.
        installed = _run(folder, "uv", "pip", "freeze", "--quiet", "--python", str(python), "--exclude-editable")
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text(installed)
        _run(*install, "--constraints", str(constraints), "--group", f"{_ROOT / 'pyproject.toml'}:dev")
        versions = [line for line in installed.splitlines() if line.partition("==")[0] in _LIBRARIES]
        print(f"{resolution}: {', '.join(versions)}", flush=True)
        command = [str(python), "-m", "pytest", "-q", "-m", "core", "-p", "no:cacheprovider", "-n", "2"]
        if resolution != "highest":  # old versions may warn of what newer ones have mended
            command += ["-o", "filterwarnings="]
        return subprocess.run(command, cwd=_ROOT, env=_environment(), check=False).returncode == 0


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
