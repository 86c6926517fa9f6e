"""The help of every command, and how a shell completes what is typed."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from streamfea.cli.app import app
from streamfea.cli.commands import LISTED, load_command

_CONFIG = """\
[redis]
url = "redis://localhost"
[database]
url = "postgresql+psycopg://localhost/x"
[queues.events]
handler = "handler"
[queues.orders]
handler = "handler"
"""


def commands(group: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command that does something, with the words that it is called by."""
    for name, command in group.items():
        if isinstance(command, TyperGroup):
            yield from commands(command.commands, (*path, name))  # type: ignore[arg-type]  # Typer leaves it open
        if not isinstance(command, TyperGroup) or command.invoke_without_command:
            yield (*path, name), command


_COMMANDS = dict(commands({name: load_command(name) for name in LISTED}))
_every_command = pytest.mark.parametrize("path", _COMMANDS, ids=" ".join)


@_every_command
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    command = _COMMANDS[path]
    assert re.match(r"[A-Z].*[.]$", command.help.partition("\n")[0].strip()), "the first line is a sentence"
    assert [parameter.name for parameter in command.params if not parameter.help] == []


@_every_command
def test_every_command_has_an_example_that_it_understands(path: tuple[str, ...]) -> None:
    [example] = re.findall(r"^ *Example: (.*)$", _COMMANDS[path].help, re.MULTILINE)
    words = [word for word in shlex.split(example) if not re.match("[A-Z_]+=", word)]
    assert tuple(words[: 1 + len(path)]) == ("streamfea", *path)
    _COMMANDS[path].make_context(path[-1], words[1 + len(path) :])


def test_the_list_of_commands_is_grouped() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"}).output
    top: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]  # it is a group
    panels = {command.rich_help_panel for command in top.values()}
    assert {type(panel) for panel in panels} == {str}, "every command belongs to a group"
    for title in panels:
        assert f"─ {title} ─" in shown
    assert "─ Commands ─" not in shown


def takes_a_queue() -> Iterator[Any]:
    for path, command in _COMMANDS.items():
        for parameter in command.params:
            if parameter.name in {"queue", "queues"}:
                yield pytest.param(command, parameter, id=" ".join(path))


@pytest.mark.parametrize(("command", "parameter"), list(takes_a_queue()))
def test_names_of_queues_are_completed(
    command: Any, parameter: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STREAMFEA_CONFIG", raising=False)
    context = command.make_context("x", [], resilient_parsing=True)
    assert parameter.shell_complete(context, "") == []
    Path("streamfea.toml").write_text("[redis")
    assert parameter.shell_complete(context, "") == []
    Path("streamfea.toml").write_text(_CONFIG)
    assert [item.value for item in parameter.shell_complete(context, "e")] == ["events"]
    Path("streamfea.toml").rename("other.toml")
    context = command.make_context("x", ["--config", "other.toml"], resilient_parsing=True)
    assert [item.value for item in parameter.shell_complete(context, "")] == ["events", "orders"]


def test_names_of_queues_are_completed_before_a_handlers_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = _COMMANDS[("handlers",)]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STREAMFEA_CONFIG", raising=False)
    context = group.make_context("handlers", [], resilient_parsing=True)
    assert group.shell_complete(context, "") == []
    Path("streamfea.toml").write_text(_CONFIG)
    assert [item.value for item in group.shell_complete(context, "o")] == ["orders"]
    handlers_own = group.get_command(context, "orders")
    inside = handlers_own.make_context("orders", [], parent=context, resilient_parsing=True)
    assert inside.command.shell_complete(inside, "") == [], "a handler that does not import has nothing to complete"


@_every_command
def test_nothing_of_a_help_is_taken_for_markup(path: tuple[str, ...]) -> None:
    texts = [_COMMANDS[path].help, *(getattr(one, "help", None) for one in _COMMANDS[path].params)]
    assert not [text for text in texts if text and re.search(r"(?<!`)\[[a-z/]", text)], "write `[…]` as code"
