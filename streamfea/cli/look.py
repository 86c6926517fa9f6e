"""`streamfea status` and `streamfea pending`: what is going on."""

import time
from datetime import timedelta
from itertools import islice
from typing import Annotated

import typer
from redis import Redis
from rich.console import Group as Lines
from rich.live import Live
from rich.table import Table

from streamfea.cli.common import (
    THRESHOLD_PASSED,
    ConfigOption,
    DebugOption,
    JsonOption,
    QueueArgument,
    QueuesArgument,
    console,
    duration_option,
    human_ms,
    new_table,
    open_client,
    print_json,
    read_settings,
)
from streamfea.cli.rendering import plain, print_errors
from streamfea.durations import to_ms
from streamfea.errors import UsageError
from streamfea.settings import Queue
from streamfea.streams.pending import PendingEntry, PendingFilter, pending_entries
from streamfea.streams.status import QueueStatus, queue_status

_WATCH_EVERY_SECONDS = 2.0
_STATE_STYLES = {"in-flight": "green", "retrying": "yellow", "stranded": "bold red"}

_MOST = 2**31 - 1


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command(rich_help_panel="Look")(status)
    app.command(rich_help_panel="Look")(pending)


def status(
    queues: QueuesArgument = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every two seconds, until Ctrl-C.")] = False,
    json: JsonOption = False,
    fail_lag: Annotated[
        int | None, typer.Option(min=0, help="Exit 3 when a queue's lag is larger.", show_default=False)
    ] = None,
    fail_age: Annotated[
        str | None,
        typer.Option(help="Exit 3 when a queue's oldest pending entry is older, as in 5m.", show_default=False),
    ] = None,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Show, for each queue, how much is waiting, being worked on, being retried, and dead.

    Example: streamfea status events --fail-lag 100000 --fail-age 5m
    """
    oldest_allowed = None if fail_age is None else duration_option(fail_age)
    if watch and json:
        raise UsageError("--watch is for people, --json for programs: choose one")
    settings = read_settings(config)
    chosen = settings.select(queues or [])
    with open_client(settings) as client:
        if watch:
            _watch(client, chosen)
            return
        figures = [queue_status(client, queue) for queue in chosen]
    if json:
        print_json(figures)
    else:
        console().print(_status_table(figures))
    if any(_passes(one, fail_lag, oldest_allowed) for one in figures):
        raise typer.Exit(THRESHOLD_PASSED)


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
    wanted = PendingFilter(duration_option(idle), consumer, min_deliveries)
    settings = read_settings(config)
    chosen = settings.select([queue] if queue else [])
    shown: list[PendingEntry] = []
    total = 0
    with open_client(settings) as client:
        for one in chosen:
            entries = pending_entries(client, one, wanted)
            first = list(islice(entries, limit))
            shown += first
            total += len(first) + sum(1 for _ in entries)
    shown = sorted(shown, key=_by_id)[:limit]
    if json:
        print_json(shown)
    else:
        _print_pending(shown, total, chosen)
    if fail_over is not None and total > fail_over:
        raise typer.Exit(THRESHOLD_PASSED)


def _by_id(entry: PendingEntry) -> tuple[int, int]:
    milliseconds, _, number = entry.id.partition("-")
    return int(milliseconds), int(number)


def _watch(client: Redis, queues: list[Queue]) -> None:
    with Live(console=console(), auto_refresh=False, screen=False) as live:
        try:
            while True:
                live.update(_status_table([queue_status(client, queue) for queue in queues]), refresh=True)
                time.sleep(_WATCH_EVERY_SECONDS)
        except KeyboardInterrupt:
            return


def _status_table(figures: list[QueueStatus]) -> Table:
    with_lists = any(one.legacy_backlog is not None for one in figures)
    lists = ["in list"] if with_lists else []
    numbers = [*lists, "length", "lag", "pending", "retrying", "dead", "oldest", "consumers"]
    table = new_table("queue", *numbers, right=numbers)
    for one in figures:
        backlog = ["-" if one.legacy_backlog is None else f"{one.legacy_backlog:,}"] if with_lists else []
        table.add_row(
            one.queue,
            *backlog,
            f"{one.length:,}",
            f"{one.lag:,}" if one.lag_exact else f"≤{one.lag:,}",
            f"{one.pending:,}",
            f"[yellow]{one.retrying:,}[/]" if one.retrying else "0",
            f"[bold red]{one.dead:,}[/]" if one.dead else "0",
            human_ms(one.oldest_pending_ms),
            f"{one.consumers:,}" if one.consumers or not (one.lag or one.pending) else "[bold red]0[/]",
        )
    return table


def _passes(figures: QueueStatus, fail_lag: int | None, fail_age: timedelta | None) -> bool:
    if fail_lag is not None and figures.lag > fail_lag:
        return True
    return fail_age is not None and (figures.oldest_pending_ms or 0) > to_ms(fail_age)


def _print_pending(shown: list[PendingEntry], total: int, queues: list[Queue]) -> None:
    if not shown:
        where = queues[0].name if len(queues) == 1 else f"{len(queues)} queues"
        console().print(f"Nothing is pending in {where}.")
        return
    several = len(queues) > 1
    names = ["queue"] if several else []
    table = new_table(*names, "id", "state", "idle", "age", "tries", "consumer", right=["idle", "age", "tries"])
    table.columns[len(names)].no_wrap = True  # ids stay whole, the last column gives way
    table.columns[-1].overflow = "ellipsis"
    lines: list[Table | str] = [table]
    for one in shown:
        cells = [one.queue] if several else []
        style = _STATE_STYLES[one.state]
        table.add_row(
            *cells,
            one.id,
            f"[{style}]{one.state}[/]",
            human_ms(one.idle_ms),
            human_ms(one.age_ms),
            str(one.deliveries),
            plain(one.consumer),
        )
    out = console()
    out.print(Lines(*lines))
    print_errors((one.error, one.id) for one in shown if one.error)
    if total > len(shown):
        out.print(f"\n{len(shown):,} of {total:,} shown; --limit shows more.")
