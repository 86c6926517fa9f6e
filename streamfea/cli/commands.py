"""Lists the commands and their modules. A module is imported when its command runs.

`streamfea --help` and the completion of a command's name thus need none of the libraries that the commands stand on.
"""

import gc
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

__all__ = ["LISTED", "LazyCommands", "Listed", "load_command"]


class Listed(NamedTuple):
    """How a command is listed: the module that registers it, its panel, and the first paragraph of its help."""

    module: str
    panel: str
    help: str


LISTED = {
    "consume": Listed("consume", "Work", "Process records until told to stop: commit, then acknowledge."),
    "shim": Listed(
        "consume", "Work",
        "Move what old producers push to lists onto the queues' streams, in order, until told to stop.",
    ),
    "produce": Listed("produce", "Work", "Put one record a line onto a queue's stream; blank lines are skipped."),
    "status": Listed(
        "status", "Look",
        "Show, for each queue, how much is waiting, being worked on, being retried, and dead, and what is wrong.",
    ),
    "causes": Listed(
        "causes", "Look",
        "Show why records fail: failures grouped by cause, retried ones and dead letters together.",
    ),
    "exporter": Listed(
        "exporter", "Look",
        "Serve the figures of all queues for Prometheus, until told to stop: lag, pending, dead letters, backlog.",
    ),
    "metrics": Listed(
        "exporter", "Look",
        "Print the figures of all queues in Prometheus' text format; those of the work are at `[metrics] listen`.",
    ),
    "pending": Listed(
        "pending", "Look", "List what was delivered and is not acknowledged, oldest first, and why it failed."
    ),
    "show": Listed(
        "show", "Look",
        "Show one entry whole: where it is, its fields, and the last error with its traceback, if it has failed.",
    ),
    "retry": Listed(
        "retry_reject", "Get moving",
        "Make pending entries due now: a worker takes them within a second, without waiting for their back-off.",
    ),
    "reject": Listed(
        "retry_reject", "Get moving",
        "Move pending entries to the dead letters, reason `rejected`, with their fields and last error.",
    ),
    "dead": Listed(
        "dead", "Get moving", "Dead letters: list and show them, put them back on the stream, or throw them away."
    ),
    "trim": Listed(
        "trim", "Memory and members",
        "Remove entries that every group of the stream has acknowledged, whatever `retention` says.",
    ),
    "consumers": Listed(
        "consumers", "Memory and members", "List the members of the groups, or forget those that are gone."
    ),
    "initdb": Listed(
        "database", "Database", "Create the tables and views of all configured handlers that are missing."
    ),
    "dropdb": Listed(
        "database", "Database",
        "Drop the tables and views of all configured handlers, and every row in them. Asks first.",
    ),
    "make-migration": Listed(
        "database", "Database", "Write a migration from the tables in the database to the models of a queue's handler."
    ),
    "migratedb": Listed(
        "database", "Database", "Apply the pending migrations of all configured handlers, all of them or none."
    ),
    "refresh-views": Listed(
        "database", "Database",
        "Bring the materialised views of all configured handlers up to date; exit 1 when one fails.",
    ),
    "reset": Listed(
        "reset", "Database",
        "Empty the tables of a queue's handler and process every entry that is still in the stream again. Asks first.",
    ),
    "check": Listed(
        "check", "Set up",
        "Look at configuration, handlers, both servers, permissions and tables; exit 1 when something is wrong.",
    ),
    "print-config": Listed(
        "check", "Set up",
        "Print the settings in force as TOML: file, environment and defaults; secrets are masked.",
    ),
    "new-handler": Listed(
        "scaffold", "Set up",
        "Write a handler, a test of it and its section of the configuration; overwrite nothing.",
    ),
    "handlers": Listed("handlers", "Set up", "List the handlers, or run a command of a queue's handler."),
    "import-config": Listed(
        "import_config", "Set up",
        "Print the configuration of streamfea that does what one of Azafea did; passwords are in it.",
    ),
    "embedded": Listed(
        "embedded", "Set up",
        "The embedded servers of the configuration: where they are, a prompt of each, their end.",
    ),
    "demo": Listed(
        "demo", "Set up",
        "Show it all: embedded servers, 19,811 real flights, two workers, one of them killed halfway.",
    ),
}  # fmt: skip


class LazyCommands(TyperGroup):
    """Lists the commands as `LISTED` says and imports the one that is run."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {
            name: TyperCommand(name, help=listed.help, rich_help_panel=listed.panel) for name, listed in LISTED.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name, the command and the remaining arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and load_command(str(name)), rest


def load_command(name: str) -> Any:
    """Import the command `name` and return it, as Typer runs it."""
    loaded = typer.Typer()
    gc.disable()  # nothing that an import makes is garbage, and looking for some takes a tenth of a command's start
    import_module(f"streamfea.cli.{LISTED[name].module}").register(loaded)
    gc.freeze()
    gc.enable()
    return get_group(loaded).commands[name]
