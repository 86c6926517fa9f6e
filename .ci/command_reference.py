"""Write down every command, from the command line itself.

python .ci/command_reference.py     the page of the documentation, as Markdown
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typer

from streamfea.cli.app import app

_EXAMPLE = re.compile(r"\s*Example: (.+)$", re.DOTALL)
_NOTES = re.compile(r"\s*\[([^\[\]]*)\]$")
_TYPES = {"int range>": "N", "float range>": "N", "int>": "N", "float>": "N", "path>": "PATH"}
_EVERYWHERE = ("--config", "--debug", "--help")
_PAGE = """\
# Commands

`streamfea --help` lists them, `streamfea COMMAND --help` explains one. Every listing has `--json`: one JSON array on
standard output, and nothing else there. Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 a `--fail-…`
threshold was passed. An error is one line on standard error.

Options of every command:

{everywhere}"""


@dataclass(frozen=True)
class Command:
    """A command; `name` is what follows `streamfea`, `rows` its arguments and options as cells of a table."""

    panel: str
    name: str
    usage: str
    paragraphs: list[str]
    example: str
    rows: list[list[str]]
    everywhere: list[list[str]]


def page() -> str:
    """Return the page of the documentation."""
    found = list(commands())
    parts = [_PAGE.format(everywhere=_table(found[0].everywhere))]
    for panel in dict.fromkeys(one.panel for one in found):
        parts.append(f"## {panel}\n")
        parts += [_section(one) for one in found if one.panel == panel]
    return "\n".join(parts)


def commands() -> Iterator[Command]:
    """Yield every command, those of groups, too."""
    root: Any = typer.main.get_command(app)
    yield from _below(root, typer.Context(root, info_name="streamfea", **root.context_settings), "Others")


def _below(group: Any, context: typer.Context, panel: str) -> Iterator[Command]:
    for listed in group.list_commands(context):
        name, command, _ = group.resolve_command(context, [listed])
        inner = typer.Context(command, info_name=name, parent=context)
        its_panel = command.rich_help_panel if isinstance(command.rich_help_panel, str) else panel
        if hasattr(command, "list_commands") and not command.invoke_without_command:
            yield from _below(command, inner, its_panel)
        elif not command.hidden:
            yield _described(command, inner, its_panel)


def _described(command: Any, context: typer.Context, panel: str) -> Command:
    text, *example = _EXAMPLE.split(command.help or "")
    rows = [_cells(parameter, context) for parameter in command.get_params(context)]
    rows = [row for row in rows if row]
    return Command(
        panel=panel,
        name=context.command_path.partition(" ")[2],
        usage=" ".join([context.command_path, *command.collect_usage_pieces(context)]),
        paragraphs=[" ".join(paragraph.split()) for paragraph in text.split("\n\n") if paragraph.strip()],
        example=" ".join(example[0].split()) if example else "",
        rows=[row for row in rows if not _is_everywhere(row)],
        everywhere=[row for row in rows if _is_everywhere(row)],
    )


def _cells(parameter: Any, context: typer.Context) -> list[str]:
    """Return name and meaning of an argument or option; nothing for one that help does not show."""
    record = parameter.get_help_record(context)
    if record is None:
        return []
    name, meaning = record
    name, _, kind = name.partition(" <")
    if kind and parameter.param_type_name == "option":
        name = f"{name} {_TYPES.get(kind, 'TEXT')}"
    notes = found[1].split("; ") if (found := _NOTES.search(meaning)) else []
    meaning = " ".join([_NOTES.sub("", meaning), *filter(None, map(_sentence, notes))])
    return [f"`{name}`", meaning.replace("|", "&#124;")]


def _sentence(note: str) -> str:
    """Return a sentence for what help puts into brackets: a default, which is described in parentheses, or a limit."""
    default = note.removeprefix("default: ")
    if default != note:
        return f"Default: {default[1:-1] if default.startswith('(') else f'`{default}`'}."
    if note.startswith("x>="):
        return "" if note == "x>=0" else f"At least {note.removeprefix('x>=')}."
    return f"{note.capitalize()}."


def _is_everywhere(row: list[str]) -> bool:
    return any(option in row[0] for option in _EVERYWHERE)


def _section(command: Command) -> str:
    lines = [f"### {command.name}", "", *(f"{paragraph}\n" for paragraph in command.paragraphs)]
    lines += ["```console", f"$ {command.usage}", "```", ""]
    if command.rows:
        lines += [_table(command.rows)]
    if command.example:
        lines += ["For example:", "", "```console", f"$ {command.example}", "```", ""]
    return "\n".join(lines)


def _table(rows: list[list[str]]) -> str:
    head = ["| argument or option | meaning |", "|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


if __name__ == "__main__":
    print(page(), end="")
