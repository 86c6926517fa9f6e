"""`streamfea pending`: lists entries that are delivered and not acknowledged."""

from typing import Annotated

import typer

from streamfea.admin.choice import duration
from streamfea.admin.pending import PendingListing
from streamfea.admin.servers import open_client
from streamfea.cli.common import (
    THRESHOLD_PASSED,
    ConfigOption,
    DebugOption,
    JsonOption,
    QueueArgument,
    console,
    new_table,
    print_json,
    read_settings,
    report,
)
from streamfea.cli.progress import run
from streamfea.cli.rendering import plain, print_errors
from streamfea.config.sections import Queue
from streamfea.core.wording import human_ms
from streamfea.streams.operating.pending import PendingEntry, PendingFilter

_STATE_STYLES = {"in-flight": "green", "retrying": "yellow", "stranded": "bold red"}

_MOST = 2**31 - 1
_WIDE = 100  # columns of a terminal that has room for queue and consumer


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(rich_help_panel="Look")(pending)


def pending(
    queue: QueueArgument = None,
    idle: Annotated[str, typer.Option(help="Only what nobody has touched for so long.")] = "0s",
    consumer: Annotated[str | None, typer.Option(help="Only what this consumer has.", show_default=False)] = None,
    min_deliveries: Annotated[int, typer.Option(min=1, help="Only what was delivered so often.")] = 1,
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="Show so many at most.")] = 100,
    json: JsonOption = False,
    fail_over: Annotated[
        int | None, typer.Option(min=0, help="Exit 3 when more match than this.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """List what was delivered and is not acknowledged, oldest first, and why it failed.

    Example: streamfea pending events --idle 60s --min-deliveries 2
    """
    wanted = PendingFilter(duration(idle), consumer, min_deliveries)
    settings = read_settings(config)
    chosen = settings.select([queue] if queue else [])
    with open_client(settings) as client:
        listing = PendingListing(client, chosen, wanted, limit)
        run(listing)
    if json:
        print_json(listing.oldest)
    else:
        _print(listing, chosen)
    if fail_over is not None and listing.found > fail_over:
        report([f"{_named(chosen)}: {listing.found:,} are pending, more than {fail_over:,}"])
        raise typer.Exit(THRESHOLD_PASSED)


def _named(queues: list[Queue]) -> str:
    return f"queue {queues[0].name}" if len(queues) == 1 else f"{len(queues):,} queues"


def _print(listing: PendingListing, queues: list[Queue]) -> None:
    shown, out = listing.oldest, console()
    if not shown:
        out.print(f"Nothing is pending in {_named(queues).removeprefix('queue ')}.")
        return
    queue_too, consumer_too = len(queues) > 1, len(queues) == 1 or out.width >= _WIDE
    first, last = ["queue"] if queue_too else [], ["consumer"] if consumer_too else []
    table = new_table(*first, "id", "state", "now", "idle", "age", "tries", *last, right=["idle", "age", "tries"])
    for column in table.columns[len(first) : len(first) + 3]:
        column.no_wrap = True  # the last column gives way
    table.columns[-1].overflow = "ellipsis"
    held = {entry.consumer for entry in shown if entry.running_ms is not None}
    for entry in shown:
        table.add_row(
            *([plain(entry.queue)] if queue_too else []),
            entry.id,
            f"[{_STATE_STYLES[entry.state]}]{entry.state}[/]",
            _now(entry, held),
            human_ms(entry.idle_ms),
            human_ms(entry.age_ms),
            str(entry.deliveries),
            *([plain(entry.consumer)] if consumer_too else []),
        )
    out.print(table)
    if listing.found > len(shown):
        out.print(f"\n{len(shown):,} of {listing.found:,} shown; --limit shows more.")
    print_errors(listing.errors)


def _now(entry: PendingEntry, with_a_running_record: set[str]) -> str:
    """Return what is happening to an entry."""
    if entry.running_ms is not None:
        return f"runs {human_ms(entry.running_ms)}, pid {entry.pid}"
    if entry.due_in_ms is not None:
        return f"due in {human_ms(entry.due_in_ms)}"
    if entry.state == "in-flight" and entry.consumer in with_a_running_record:
        return "in its batch"
    return f"pid {entry.pid}" if entry.pid is not None else "-"
