"""`streamfea retry` and `reject`: makes pending entries due, or gives them up."""

from typing import Annotated

import typer

from streamfea.admin.causes import cause_of
from streamfea.admin.choice import entry_ids
from streamfea.admin.retry_and_reject import RejectPending, RetryPending
from streamfea.admin.servers import open_client
from streamfea.cli.common import ConfigOption, DebugOption, OneQueueArgument, console, read_settings
from streamfea.cli.dead_choice import CauseOption
from streamfea.cli.progress import run
from streamfea.errors import UsageError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command(rich_help_panel="Get moving")(retry)
    app.command("reject", rich_help_panel="Get moving")(reject_entries)


def retry(
    queue: OneQueueArgument,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="Pending entries.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Whatever is pending in the queue.")] = False,
    cause: CauseOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also what a worker may be running: it may be done twice then.")
    ] = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Make pending entries due now: a worker takes them within a second, without waiting for their back-off.

    What a worker may be running at this moment is left to it.

    Example: streamfea retry events --all
    """
    wanted = entry_ids(ids or [])
    if [bool(wanted), everything, cause is not None].count(True) != 1:
        raise UsageError("which entries are meant?", remedy="name ids of pending entries, or give --all, or --cause")
    settings = read_settings(config)
    [chosen] = settings.select([queue])
    with open_client(settings) as client:
        job = RetryPending(client, chosen, wanted or None, cause=cause_of(cause), force=force)
        run(job)
    console().print(f"{queue}: {job.so_far()}.", markup=False)
    if job.due and job.lacks_worker:
        console().print(f"No worker is there to take them: run `streamfea consume {queue}`.", markup=False)
    if not wanted and job.left_to_workers is not None:
        _print_line(str(job.left_to_workers))
    job.fail_if_undone()


def reject_entries(
    queue: OneQueueArgument,
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Pending entries.")],
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Move pending entries to the dead letters, reason `rejected`, with their fields and last error.

    They are not tried again; `dead replay` brings them back.

    Example: streamfea reject events 1764041633000-0
    """
    wanted = entry_ids(ids)
    settings = read_settings(config)
    [chosen] = settings.select([queue])
    with open_client(settings) as client:
        job = RejectPending(client, chosen, wanted)
        run(job)
    console().print(f"{queue}: {job.so_far()}.", markup=False)
    if job.still_running is not None:
        _print_line(str(job.still_running))
    job.fail_if_undone()


def _print_line(line: str) -> None:
    console().print(f"{line[0].upper()}{line[1:]}.", markup=False, soft_wrap=True)
