"""What is installed without a clone: the demo and a new handler run from the wheel alone."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheel's files."""
    folder = tmp_path_factory.mktemp("wheel")
    command = ["uv", "build", "--quiet", "--wheel", "--out-dir", str(folder), str(_ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(installed: Path, cwd: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "80"}
    environment.pop("STREAMFEA_CONFIG", None)
    result = subprocess.run(
        [sys.executable, "-m", "streamfea", *arguments],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.timeout(500)
def test_the_demo_shows_each_flight_once_and_says_what_its_rate_is(installed: Path, tmp_path: Path) -> None:
    told = run(installed, tmp_path, "demo")
    assert "Every record is where it belongs" in told
    assert "Killed worker process" in told
    assert "6 of 6 spoiled records in the dead letters" in told.replace("\n", " ").replace("  ", " ")
    assert "19,811 flights, 19,811 rows: exactly-once" in told
    assert "The rate has the kill and its take-over in it" in told
    assert list(tmp_path.iterdir()) == []


def test_a_handler_is_written(installed: Path, tmp_path: Path) -> None:
    assert "Wrote readings.py, test_readings.py" in run(installed, tmp_path, "new-handler", "readings")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["readings.py", "streamfea.toml", "test_readings.py"]
    [described] = json.loads(run(installed, tmp_path, "handlers", "--json"))
    assert (described["tables"], described["commands"]) == (["readings"], ["latest"])
