"""`streamfea trim`: removes entries that every group has acknowledged."""

from typing import Annotated

import typer
from redis import Redis

from streamfea.admin.servers import open_client
from streamfea.admin.trim import Trim
from streamfea.cli.common import ConfigOption, DebugOption, QueuesArgument, console, read_settings
from streamfea.config.sections import Queue
from streamfea.core.wording import counted


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(rich_help_panel="Memory and members")(trim)


def trim(
    queues: QueuesArgument = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count them, and remove nothing.")] = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Remove entries that every group of the stream has acknowledged, whatever `retention` says.

    What any group still has to read or to acknowledge stays.

    Example: streamfea trim events --dry-run
    """
    settings = read_settings(config)
    chosen = settings.select(queues or [])
    with open_client(settings) as client:
        for queue in chosen:
            _trim(client, queue, dry_run=dry_run)


def _trim(client: Redis, queue: Queue, *, dry_run: bool) -> None:
    job = Trim(client, queue, dry_run=dry_run)
    # A long stream takes seconds.
    with console().status(f"{queue.name}: …") as shown:
        for _ in job:
            shown.update(f"{queue.name}: {job.number:,} entries")
    if job.is_read:
        entries = counted(job.number, "entry", "entries")
        told = f"{'would remove' if dry_run else 'removed'} {entries} of {queue.stream}; {job.left:,} stay."
    else:
        told = f"nothing to remove, because no group reads {queue.stream} yet."
    console().print(f"{queue.name}: {told}", markup=False)
