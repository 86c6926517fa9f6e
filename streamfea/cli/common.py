"""Shared by the commands: options, settings, clients, output."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from textwrap import indent
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamfea.config.loading import load_settings
from streamfea.config.settings import Settings, folder_of
from streamfea.core.printable import printable, without_surrogates
from streamfea.errors import StreamfeaError
from streamfea.observe.logs import configure_logging

__all__ = [
    "ConfigOption",
    "DebugOption",
    "JsonOption",
    "LongConfigOption",
    "OneQueueArgument",
    "QueueAndIdsArgument",
    "QueueArgument",
    "QueuesArgument",
    "console",
    "new_table",
    "print_json",
    "queue_argument",
    "queue_names",
    "read_settings",
    "report",
    "utc",
]  # fmt: skip

THRESHOLD_PASSED = 3
"""The exit code when a `--fail-…` threshold is passed."""


def queue_names(context: typer.Context) -> list[str]:
    """Return the names of the configured queues; none without a configuration that can be used."""
    try:
        return list(load_settings(context.params.get("config")).queues)
    except StreamfeaError:
        return []


def queue_argument(text: str = "All queues, if none is named.") -> Any:
    """Return the argument of a command that takes a queue, or several; the shell completes their names."""
    return typer.Argument(metavar="QUEUE", help=text, show_default=False, autocompletion=_complete_queue)


def _complete_queue(context: typer.Context, incomplete: str) -> list[str]:
    return [name for name in queue_names(context) if name.startswith(incomplete)]


_USUAL = "$STREAMFEA_CONFIG, streamfea.toml or config/streamfea.toml"
ConfigOption = Annotated[
    Path | None,
    # Eager, as `--help` is: `handlers --config PATH --help` tells of the queues in PATH.
    typer.Option("--config", "-c", help=f"The TOML file; if not given, {_USUAL}.", show_default=False, is_eager=True),
]
# For commands that hand what they do not know on to a program, which may have a -c of its own.
LongConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help=f"The TOML file; if not given, {_USUAL}.", show_default=False, is_eager=True),
]
QueuesArgument = Annotated[list[str] | None, queue_argument()]
OneQueueArgument = Annotated[str, queue_argument("The queue.")]
QueueArgument = Annotated[str | None, queue_argument()]
QueueAndIdsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[QUEUE] ID",
        help="The queue, or all if none is named, and the id of an entry or of a dead letter.",
        show_default=False,
        autocompletion=_complete_queue,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON array, for programs.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

_PIPED_WIDTH = 160


def read_settings(config: Path | None) -> Settings:
    """Return the settings in force, with logging set up as they say, and handlers found beside the file, too.

    Raises `ConfigurationError`.
    """
    settings = load_settings(config)
    configure_logging(settings.log)
    folder = str(folder_of(settings.source))
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return settings


def console() -> Console:
    """Return the console for results, as wide as the terminal, or as a file may be."""
    narrow = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, width=None if narrow else _PIPED_WIDTH)


def print_json(rows: Iterable[Any]) -> None:
    """Print dataclasses, or dictionaries, as one JSON array, each as it comes."""
    before = "[\n"
    for row in rows:
        members = row if isinstance(row, dict) else asdict(row)
        safe = {name: without_surrogates(value) if isinstance(value, str) else value for name, value in members.items()}
        print(before + indent(json.dumps(safe, indent=2), "  "), end="")
        before = ",\n"
    print("\n]" if before == ",\n" else "[]")


def new_table(*columns: str, right: Sequence[str] = ()) -> Table:
    """Return a table whose columns in `right` hold numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(
            column, justify="right" if column in right else "left", overflow="fold", no_wrap=column in right
        )
    return table


def utc(milliseconds: int) -> str:
    """Return a time since the epoch as people read it, as far as calendars go."""
    try:
        return f"{datetime.fromtimestamp(milliseconds / 1000, tz=UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError):
        return "at no time"


def report(messages: Iterable[str]) -> None:
    """Tell on stderr why a command does not end with 0."""
    err = Console(stderr=True, soft_wrap=True, highlight=False)
    for message in messages:
        err.print(Text.assemble(("Error:", "bold red"), " ", printable(message)))
