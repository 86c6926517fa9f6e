"""Install the wheel and the source distribution into empty environments, and run streamfea there.

    python .ci/try_distributions.py [FOLDER] [--python VERSION]...

FOLDER holds both, `dist` unless given. Each is tried with each Python, by default the one that runs this.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

_DEMO_SAYS = "Every record is where it belongs"
_WRITTEN = {"readings.py", "streamfea.toml", "test_readings.py"}


def main(arguments: list[str]) -> int:
    """Try every distribution; raise the first failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("dist"))
    parser.add_argument("--python", action="append", help="a version, or the path of an interpreter")
    options = parser.parse_args(arguments)
    distributions = sorted([*options.folder.resolve().glob("*.whl"), *options.folder.resolve().glob("*.tar.gz")])
    if len(distributions) != 2:  # noqa: PLR2004 - a wheel and a source distribution
        sys.exit(
            f"{options.folder} has to hold one wheel and one source distribution: run `uv build` in an empty dist/"
        )
    for python in options.python or [sys.executable]:
        for distribution in distributions:
            with TemporaryDirectory() as folder:
                print(f"{distribution.name}, {_try(distribution, python, Path(folder))}: works", flush=True)
    return 0


def _try(distribution: Path, python: str, folder: Path) -> str:
    """Run the demo, and a new handler with its test; return the version of Python."""
    environment, project = folder / "environment", folder / "project"
    project.mkdir()
    _run(folder, "uv", "venv", "--quiet", "--python", python, str(environment))
    interpreter = environment / "bin" / "python"
    install = ("uv", "pip", "install", "--quiet", "--python", str(interpreter))
    _run(folder, *install, f"streamfea[embedded] @ {distribution.as_uri()}", "pytest")
    streamfea = str(environment / "bin" / "streamfea")
    assert _DEMO_SAYS in _run(project, streamfea, "demo")
    _run(project, streamfea, "new-handler", "readings")
    assert {path.name for path in project.iterdir()} == _WRITTEN
    _run(project, str(interpreter), "-m", "pytest", "-q", "test_readings.py")
    _run(project, streamfea, "embedded", "stop")
    return _run(project, str(interpreter), "--version").strip()


def _run(folder: Path, *command: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMFEA_", "PYTHON"))}
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    if result.returncode:
        sys.exit(f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout}{result.stderr}")
    return result.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
