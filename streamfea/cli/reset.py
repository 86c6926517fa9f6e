"""`streamfea reset`: empties tables and processes every entry again."""

from typing import Annotated

import typer

from streamfea.admin.reset import ResetPlan, plan_reset
from streamfea.admin.reset import reset as empty_and_rewind
from streamfea.admin.servers import open_client, open_engine
from streamfea.cli.common import ConfigOption, DebugOption, console, queue_argument, read_settings
from streamfea.errors import StreamfeaError

_MANY_ROWS = 1_000


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(rich_help_panel="Database")(reset)


def reset(
    queue: Annotated[str, queue_argument("The queue to process anew.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also when consumers seem to be at work, or other queues fill the same tables."),
    ] = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Empty the tables of a queue's handler and process every entry that is still in the stream again. Asks first.

    Stop the queue's consumers before. Dead letters stay.

    Example: streamfea reset events
    """
    settings = read_settings(config)
    with open_client(settings) as client, open_engine(settings) as engine:
        plan = plan_reset(settings, client, engine, queue, force=force)
        if not yes:
            _ask(plan)
        empty_and_rewind(client, engine, plan, force=force)
    console().print(
        f"Dropped {plan.rows:,} rows of {plan.tables}; {plan.entries:,} entries of {plan.queue.stream} will be "
        "processed again."
    )


def _ask(plan: ResetPlan) -> None:
    """Ask before rows are dropped; for many of them a key pressed too soon is no answer."""
    name = plan.queue.name
    question = f"Drop {plan.rows:,} rows of {plan.tables} and process {plan.entries:,} entries again?"
    if plan.rows < _MANY_ROWS:
        typer.confirm(question, abort=True)
    elif typer.prompt(f"{question} Type the queue's name to do so", default="", show_default=False) != name:
        raise StreamfeaError(f"that was not {name}: nothing was changed")
