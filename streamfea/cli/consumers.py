"""`streamfea consumers`: the members of the groups."""

from datetime import timedelta
from typing import Annotated

import typer
from redis import Redis

from streamfea.cli.common import (
    ConfigOption,
    DebugOption,
    JsonOption,
    QueueArgument,
    console,
    duration_option,
    human_ms,
    new_table,
    open_client,
    print_json,
    read_settings,
)
from streamfea.cli.rendering import plain
from streamfea.durations import to_ms
from streamfea.printable import printable
from streamfea.settings import Queue
from streamfea.streams.consumers import Member, forget_if_idle, members

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
        found = [member for one in chosen for member in members(client, one)]
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
    at_least: timedelta = duration_option(idle)
    settings = read_settings(config)
    removed = kept = 0
    with open_client(settings) as client:
        for one in settings.select([queue] if queue else []):
            for member in members(client, one):
                why = _why_kept(client, one, member, at_least)
                removed, kept = (removed, kept + 1) if why else (removed + 1, kept)
                name = printable(member.name, one_line=True)
                told = f"kept     {name}: {why}" if why else f"removed  {name}"
                console().print(told, markup=False, soft_wrap=True)
    console().print(f"{removed:,} removed, {kept:,} kept.")


def _why_kept(client: Redis, queue: Queue, member: Member, at_least: timedelta) -> str | None:
    """Forget a member, unless there is a reason not to: return that."""
    if member.pending:
        entries = "1 entry" if member.pending == 1 else f"{member.pending:,} entries"
        return f"{entries} pending; others take them over after claim_idle"
    if member.alive == "yes":
        return "it is alive"
    wanted = timedelta(0) if member.alive == "no" else at_least
    if member.idle_ms < to_ms(wanted):
        return f"seen {human_ms(member.idle_ms)} ago; --idle says how long it must be"
    return None if forget_if_idle(client, queue, member.name, wanted) else "it has come back to life meanwhile"


def _print(found: list[Member], *, several: bool) -> None:
    names = ["queue"] if several else []
    table = new_table(*names, "consumer", "host", "pid", "alive", "pending", "seen ago", right=["pid", "pending"])
    for one in found:
        cells = [one.queue] if several else []
        table.add_row(
            *cells,
            plain(one.name),
            plain(one.host or "-"),
            str(one.pid or "-"),
            f"[{_ALIVE_STYLES[one.alive]}]{one.alive}[/]",
            f"{one.pending:,}",
            human_ms(one.idle_ms),
        )
    console().print(table)
