"""`streamfea new-handler`: what it writes works as it is, and nothing is overwritten."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from streamfea.cli.scaffold import new_handler
from streamfea.config.loading import load_settings
from streamfea.errors import StreamfeaError
from tests.support.commands import Project

_RECORD = b'{"name": "first", "value": 1.5, "at": "2026-01-31T12:00:00Z"}\n'


def test_a_new_handler_passes_its_test_and_consumes(
    tmp_path: Path, redis_url: str, database_url: str, client: Redis, name: str
) -> None:
    project = Project(tmp_path, redis_url, database_url, name)
    queue = f"q_{name}"
    told = project.run("new-handler", queue, cwd=tmp_path)
    assert f"Wrote {queue}.py, test_{queue}.py; added [queues.{queue}] to {project.config}." in told
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", f"test_{queue}.py"]
    environment = {**os.environ, "STREAMFEA_CONFIG": str(project.config)}
    result = subprocess.run(pytest_, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "2 passed" in result.stdout, result.stdout + result.stderr
    client.xadd(queue, {"record": _RECORD})
    project.run("consume", queue, "--create-tables", "--until-empty", cwd=tmp_path)
    assert "* name: first\n* value: 1.5\n" in project.run("handlers", queue, "latest", cwd=tmp_path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STREAMFEA_CONFIG", raising=False)
    return tmp_path


def test_without_a_configuration_there_is_one_with_embedded_servers(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new_handler("readings")
    settings = load_settings()
    assert (settings.redis.url, settings.database.url) == ("embedded:var/valkey", "embedded:var/postgresql")
    assert settings.queues["readings"].handler == "readings"
    told = capsys.readouterr().out
    assert "Wrote readings.py, test_readings.py; wrote streamfea.toml (embedded servers)." in told
    assert "  streamfea consume readings --create-tables --until-empty\n" in told
    new_handler("orders")
    assert list(load_settings().queues) == ["readings", "orders"]


def test_a_configuration_without_queues_and_with_a_comment_stays_as_it_was(folder: Path) -> None:
    before = '# ours\n[redis]\nurl = "redis://localhost"  # the only one\n[database]\nurl = "embedded:var/postgresql"'
    Path("streamfea.toml").write_text(before)
    new_handler("readings")
    assert Path("streamfea.toml").read_text().startswith(f"{before}\n\n[queues.readings]")
    assert list(load_settings().queues) == ["readings"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("3x", "'3x' cannot be the name of a Python module: use letters, digits and _"),
        ("a-b", "'a-b' cannot be the name"),
        ("", "'' cannot be the name"),
        ("zähler", "'zähler' cannot be the name"),
        ("class", "'class' cannot be the name"),
        ("json", "there is a module json already"),
        ("streamfea", "there is a module streamfea already"),
        ("package", "there is a module package already"),
        ("here", "there is here.py already: choose another name"),
        ("tested", "there is test_tested.py already: choose another name"),
        ("known", "streamfea.toml has [queues.known] already: choose another name"),
    ],
)
def test_what_would_be_in_the_way_stays_and_is_named(folder: Path, name: str, told: str) -> None:
    Path("package").mkdir()
    for file in ("package/__init__.py", "here.py", "test_tested.py"):
        Path(file).touch()
    Path("streamfea.toml").write_text('[queues.known]\nhandler = "x"\n')
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    with pytest.raises(StreamfeaError) as caught:
        new_handler(name)
    assert str(caught.value).startswith(told)
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before


@pytest.mark.parametrize("text", ['queues = {known = {handler = "x"}}\n', "[redis\n", "queues = 3"])
def test_a_file_that_cannot_be_added_to_is_left_alone(folder: Path, text: str) -> None:
    Path("streamfea.toml").write_text(text)
    with pytest.raises(StreamfeaError, match=r"cannot add \[queues.readings\] to streamfea.toml \("):
        new_handler("readings")
    assert list(folder.iterdir()) == [folder / "streamfea.toml"]


def test_the_example_in_the_sentences_is_a_record(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new_handler("readings")
    [line] = [line for line in capsys.readouterr().out.splitlines() if "echo" in line]
    assert json.loads(line.split("'")[1]) == json.loads(_RECORD)
