"""`streamfea consumers`: the members of the groups."""

import socket
from typing import Annotated

import typer

from streamfea.admin.choice import duration
from streamfea.admin.consumers import prune as prune_members
from streamfea.admin.servers import open_client
from streamfea.cli.common import (
    ConfigOption,
    DebugOption,
    JsonOption,
    QueueArgument,
    console,
    new_table,
    print_json,
    read_settings,
)
from streamfea.cli.rendering import plain
from streamfea.core.origin import namespace
from streamfea.core.printable import printable
from streamfea.core.wording import human_ms
from streamfea.streams.operating.members import Member, members

_ALIVE_STYLES = {"yes": "green", "no": "bold red", "unknown": "yellow"}


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    consumers = typer.Typer(no_args_is_help=True)
    consumers.command("list")(list_)
    consumers.command("prune")(prune)
    app.add_typer(
        consumers,
        name="consumers",
        help="List the members of the groups, or forget those that are gone.",
        rich_help_panel="Memory and members",
    )


def list_(
    queue: QueueArgument = None,
    json: JsonOption = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """List the consumers of each queue's group: where they run, whether they live, what they hold.

    A process that lives says so every few seconds, whichever host it is on; `unknown` is what streamfea has not
    named.

    Example: streamfea consumers list events --json
    """
    settings = read_settings(config)
    chosen = settings.select([queue] if queue else [])
    with open_client(settings) as client:
        found = [member for chosen_queue in chosen for member in members(client, chosen_queue.ref)]
    if json:
        print_json(found)
    elif found:
        _print(found, several=len(chosen) > 1)
    else:
        console().print("There are no consumers.")


def prune(
    queue: QueueArgument = None,
    idle: Annotated[str, typer.Option(help="Forget only what was not seen for so long, or is known to be dead.")] = (
        "10m"
    ),
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Forget consumers that are gone and hold nothing; tell which went, and which stay and why.

    What is pending for a consumer is never dropped.

    Example: streamfea consumers prune events --idle 1h
    """
    at_least = duration(idle)
    settings = read_settings(config)
    removed = kept = 0
    with open_client(settings) as client:
        for chosen_queue in settings.select([queue] if queue else []):
            for pruned in prune_members(client, chosen_queue, at_least):
                removed, kept = (removed, kept + 1) if pruned.why_kept else (removed + 1, kept)
                shown = printable(pruned.name, one_line=True)
                told = f"kept     {shown}: {pruned.why_kept}" if pruned.why_kept else f"removed  {shown}"
                console().print(told, markup=False, soft_wrap=True)
    console().print(f"{removed:,} removed, {kept:,} kept.")


def _pid(member: Member) -> str:
    """Return a process id; where it means another process here, with its namespace."""
    if member.pid is None:
        return "-"
    is_ambiguous = member.host == socket.gethostname() and member.namespace != namespace()
    return f"{member.pid} in {member.namespace or 'another namespace'}" if is_ambiguous else str(member.pid)


def _print(found: list[Member], *, several: bool) -> None:
    names = ["queue"] if several else []
    table = new_table(*names, "consumer", "host", "pid", "alive", "pending", "seen ago", right=["pid", "pending"])
    for member in found:
        cells = [member.queue] if several else []
        table.add_row(
            *cells,
            plain(member.name),
            plain(member.host or "-"),
            _pid(member),
            f"[{_ALIVE_STYLES[member.alive]}]{member.alive}[/]",
            f"{member.pending:,}",
            human_ms(member.idle_ms),
        )
    console().print(table)
