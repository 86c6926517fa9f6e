"""`streamfea consumers`: the members of the groups."""

import socket
from collections.abc import Iterator
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
from streamfea.config.settings import Queue
from streamfea.core.durations import to_ms
from streamfea.core.origin import namespace
from streamfea.core.printable import printable
from streamfea.streams.operating.members import Member, forget_all_idle, members

_ALIVE_STYLES = {"yes": "green", "no": "bold red", "unknown": "yellow"}
# Consumers that are forgotten in one step, so that thousands take seconds.
_AT_ONCE = 200
_BACK = "it has come back to life meanwhile"


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
        found = [member for one in chosen for member in members(client, one.ref)]
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
            for name, why in _prune(client, one, at_least):
                removed, kept = (removed, kept + 1) if why else (removed + 1, kept)
                shown = printable(name, one_line=True)
                told = f"kept     {shown}: {why}" if why else f"removed  {shown}"
                console().print(told, markup=False, soft_wrap=True)
    console().print(f"{removed:,} removed, {kept:,} kept.")


def _prune(client: Redis, queue: Queue, at_least: timedelta) -> Iterator[tuple[str, str | None]]:
    """Forget members, unless there is a reason not to; yield each name with that."""
    found = members(client, queue.ref)
    for start in range(0, len(found), _AT_ONCE):
        some = found[start : start + _AT_ONCE]
        kept = {member.name: _why_kept(member, at_least) for member in some}
        for alive in ("no", "unknown"):
            names = [member.name for member in some if member.alive == alive and kept[member.name] is None]
            gone = forget_all_idle(client, queue.ref, names, _wanted_idle(alive, at_least))
            kept.update((name, None if one else _BACK) for name, one in zip(names, gone, strict=True))
        yield from kept.items()


def _why_kept(member: Member, at_least: timedelta) -> str | None:
    if member.pending:
        entries = "1 entry" if member.pending == 1 else f"{member.pending:,} entries"
        return f"{entries} pending; others take them over after claim_idle"
    if member.alive == "yes":
        return "it is alive"
    if member.idle_ms < to_ms(_wanted_idle(member.alive, at_least)):
        return f"seen {human_ms(member.idle_ms)} ago; --idle says how long it must be"
    return None


def _wanted_idle(alive: str, at_least: timedelta) -> timedelta:
    return timedelta(0) if alive == "no" else at_least


def _pid(member: Member) -> str:
    """Return a process id; where it means another process here, with its namespace."""
    if member.pid is None:
        return "-"
    is_ambiguous = member.host == socket.gethostname() and member.namespace != namespace()
    return f"{member.pid} in {member.namespace or 'another namespace'}" if is_ambiguous else str(member.pid)


def _print(found: list[Member], *, several: bool) -> None:
    names = ["queue"] if several else []
    table = new_table(*names, "consumer", "host", "pid", "alive", "pending", "seen ago", right=["pid", "pending"])
    for one in found:
        cells = [one.queue] if several else []
        table.add_row(
            *cells,
            plain(one.name),
            plain(one.host or "-"),
            _pid(one),
            f"[{_ALIVE_STYLES[one.alive]}]{one.alive}[/]",
            f"{one.pending:,}",
            human_ms(one.idle_ms),
        )
    console().print(table)
