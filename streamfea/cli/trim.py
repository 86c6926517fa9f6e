"""`streamfea trim`: free the memory of what every group is through with."""

from collections.abc import Iterator
from typing import Annotated

import typer
from redis import Redis

from streamfea.cli.common import ConfigOption, DebugOption, QueuesArgument, console, open_client, read_settings
from streamfea.config.settings import Queue
from streamfea.streams.consuming.trim import Trimmer, count_acknowledged, is_read


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
    if not is_read(client, queue.stream):
        console().print(f"{queue.name}: nothing to remove, because no group reads {queue.stream} yet.", markup=False)
        return
    slices = count_acknowledged(client, queue.ref) if dry_run else Trimmer(client, queue.ref).trim_all()
    number = _sum(slices, queue.name)
    what = "would remove" if dry_run else "removed"
    entries = "1 entry" if number == 1 else f"{number:,} entries"
    left = client.xlen(queue.stream) - (number if dry_run else 0)
    console().print(f"{queue.name}: {what} {entries} of {queue.stream}; {left:,} stay.", markup=False)


def _sum(slices: Iterator[int], name: str) -> int:
    """Add up slices; on a terminal, show how far it is, since a long stream takes seconds."""
    number = 0
    with console().status(f"{name}: …") as shown:
        for one in slices:
            number += one
            shown.update(f"{name}: {number:,} entries")
    return number
