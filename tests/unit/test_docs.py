"""What is generated for the documentation is whole, and what the documentation says of the tests is so."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel

import streamfea.commands
import streamfea.model
import streamfea.testing
from streamfea.cli.app import app
from streamfea.config.loading import load_settings
from streamfea.config.sections import (
    ConsumerSettings,
    DatabaseSettings,
    LogSettings,
    MetricsSettings,
    Queue,
    RedisSettings,
)
from streamfea.config.settings import describe
from tests.support.workshop import run

_ROOT = Path(__file__).parents[2]
_SECTIONS: dict[str, type[BaseModel]] = {
    "redis": RedisSettings,
    "database": DatabaseSettings,
    "consumer": ConsumerSettings,
    "queues.NAME": Queue,
    "log": LogSettings,
    "metrics": MetricsSettings,
}


@pytest.fixture(scope="module")
def configuration() -> str:
    return generated("configuration_reference.py")


@pytest.fixture(scope="module")
def commands() -> str:
    return generated("command_reference.py")


def generated(script: str, *arguments: str) -> str:
    result = run(script, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("section", _SECTIONS)
def test_every_key_is_named_with_type_default_and_meaning(configuration: str, section: str) -> None:
    rows = table(part(configuration, f"## `[{section}]`"))
    for name in keys(section):
        kind, default, meaning = rows[f"`{name}`"]
        assert kind
        assert default
        assert meaning
    assert len(rows) == len(keys(section))


def test_the_defaults_that_are_named_are_in_force(configuration: str, tmp_path: Path) -> None:
    file = tmp_path / "streamfea.toml"
    file.write_text(
        '[redis]\nurl = "redis://x"\n[database]\nurl = "postgresql+psycopg://x"\n[queues.q]\nhandler = "x"\n'
    )
    in_force = describe(load_settings(file))
    for section, values in (("consumer", in_force["queues"]["q"]), ("log", in_force["log"])):
        rows = table(part(configuration, f"## `[{section}]`"))
        named = {name: rows[f"`{name}`"][1].strip("`").strip('"') for name in keys(section)}
        assert named == {
            name: str(values[name]).lower() if isinstance(values[name], bool) else str(values[name])
            for name in keys(section)
        }


def test_every_section_of_the_settings_has_its_part(configuration: str) -> None:
    described = set(re.findall(r"^## `\[(.+)\]`$", configuration, re.MULTILINE))
    assert described == set(_SECTIONS)


def test_the_production_file_is_what_the_settings_say() -> None:
    committed = (_ROOT / "config" / "production.toml").read_text()
    assert generated("configuration_reference.py", "--toml") == committed, "run `just config`"


def test_every_command_is_named_with_its_arguments_and_options(commands: str) -> None:
    root: Any = typer.main.get_command(app)
    everywhere = part(commands, "# Commands")
    for name, command, context in below(root, typer.Context(root, info_name="streamfea")):
        described = part(commands, f"### {name}")
        assert f"$ streamfea {name}" in described
        rows = {**table(described), **table(everywhere)}
        named = set(re.split(r"[`, ]+", " ".join(rows)))
        for parameter in command.get_params(context):
            option = parameter.param_type_name == "option"
            assert {*parameter.opts} <= named if option else parameter.get_help_record(context)[0].split()[0] in named


def test_the_tests_of_guarantees_are_there() -> None:
    evidence = (_ROOT / "docs" / "guarantees.md").read_text()
    page = (_ROOT / "docs" / "how-it-is-tested.md").read_text()
    named = [
        (file, test)
        for file, tests in re.findall(r"^- `(tests/[\w/]+\.py)`(.*?)(?=^- |^$)", page, re.MULTILINE | re.DOTALL)
        for test in re.findall(r"`(test_\w+)`", tests)
    ]
    assert len(named) > 30
    shown = re.findall(r"^\*\*Evidence\.\*\* `(tests/[\w/]+\.py)`: `(test_\w+)`", evidence, re.MULTILINE)
    assert len(shown) == len(re.findall(r"^## ", evidence, re.MULTILINE))
    assert set(shown) <= set(named)
    missing = [test for file, test in named if f"def {test}(" not in (_ROOT / file).read_text()]
    assert not missing


def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=_ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert "warning" not in (built.stdout + built.stderr).lower()
    pages = {str(page.relative_to(tmp_path)): page.read_text() for page in tmp_path.rglob("*.html")}
    assert {"index.html", "tutorial.html", "reference/configuration.html", "reference/commands.html"} <= set(pages)
    for name, page in pages.items():
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]+src=\"?([^\"\s>]+)", page)
        loaded += re.findall(r"<link[^>]+href=\"?([^\"\s>]+)", page)
        assert not [one for one in loaded if "//" in one], name
    for name in public_names():
        assert re.search(rf'id="streamfea[\w.]*\.{name}"', pages["reference/python.html"]), name
    assert "<svg" in pages["architecture.html"].partition('class="diagram"')[2]


@pytest.mark.parametrize("name", ["docs/architecture.md", "docs/processes-and-threads.md", "CONTRIBUTING.md"])
def test_the_files_that_a_page_names_are_there(name: str) -> None:
    named = re.findall(r"`([\w./]*\w/[\w.]*\.(?:py|toml)|[\w./]+/)`", (_ROOT / name).read_text())
    assert named or name == "docs/processes-and-threads.md"
    folders = (_ROOT, _ROOT / "streamfea")
    assert [file for file in named if not any((folder / file).exists() for folder in folders)] == []


def test_pictures_load_nothing_and_are_small() -> None:
    pictures = list((_ROOT / "docs" / "pictures").glob("*.svg"))
    assert {picture.stem for picture in pictures} >= {"demo", "status", "pending", "show"}
    for picture in pictures:
        svg = picture.read_text()
        assert not re.findall(r"(?<!xmlns=\")https?://|<script|@import|@font-face", svg), picture.name
        assert len(svg) < 50_000


def keys(section: str) -> list[str]:
    """Return the keys that a section has to itself."""
    model = _SECTIONS[section]
    shared = {"name", *ConsumerSettings.model_fields} if model is Queue else set()
    return [name for name in model.model_fields if name not in shared]


def part(page: str, heading: str) -> str:
    """Return what is under a heading, up to the next one."""
    assert f"{heading}\n" in page
    return re.split(r"^#+ ", page.partition(f"{heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def table(text: str) -> dict[str, list[str]]:
    """Return the rows of the table in a text by what is in their first cell."""
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    return {first: rest for first, *rest in rows[2:]}


def below(group: Any, context: typer.Context, path: str = "") -> list[tuple[str, Any, typer.Context]]:
    """Return all commands below a group, by what is typed to run them."""
    found = []
    for listed in group.list_commands(context):
        name, command, _ = group.resolve_command(context, [listed])
        inner = typer.Context(command, info_name=name, parent=context)
        if hasattr(command, "list_commands") and not command.invoke_without_command:
            found += below(command, inner, f"{path}{name} ")
        else:
            found.append((f"{path}{name}", command, inner))
    return found


def public_names() -> set[str]:
    """Return what handlers may import, and what their session has beyond SQLAlchemy's."""
    modules = (streamfea, streamfea.commands, streamfea.model, streamfea.testing)
    names = {name for module in modules for name in module.__all__}
    return {*names, "entry", "entries", "chunked_query"} - {"__version__"}
