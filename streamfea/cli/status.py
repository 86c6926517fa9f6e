"""`streamfea status`: figures of each queue, and what is wrong."""

import time
from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated, Any

import typer
from redis import Redis
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streamfea.admin.choice import duration
from streamfea.admin.servers import open_client
from streamfea.admin.status import (
    Figures,
    Thresholds,
    Unreadable,
    by_trouble,
    figures_of,
    names_queue,
    rates_between,
    total_of,
    wrong_with,
)
from streamfea.cli.common import (
    THRESHOLD_PASSED,
    ConfigOption,
    DebugOption,
    JsonOption,
    QueuesArgument,
    console,
    new_table,
    print_json,
    read_settings,
    report,
    utc,
)
from streamfea.cli.rendering import plain
from streamfea.config.sections import Queue
from streamfea.core.wording import counted, human_ms
from streamfea.errors import UsageError
from streamfea.streams.operating.status import QueueStatus

_WATCH_EVERY_SECONDS = 2.0
_TOLD_AT_MOST = 6
# What stands around the rows of the table: its head, the totals, what is left out, and two lines of the prompt.
_LINES_AROUND = 6


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(rich_help_panel="Look")(status)


def status(
    queues: QueuesArgument = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every two seconds, until Ctrl-C.")] = False,
    json: JsonOption = False,
    fail_lag: Annotated[
        int | None, typer.Option(min=0, help="Exit 3 when a queue's lag is larger.", show_default=False)
    ] = None,
    fail_age: Annotated[
        str | None,
        typer.Option(help="Exit 3 when an entry that is not done is older, as in 5m.", show_default=False),
    ] = None,
    fail_dead: Annotated[
        int | None, typer.Option(min=0, help="Exit 3 when a queue has more dead letters.", show_default=False)
    ] = None,
    fail_no_worker: Annotated[
        bool, typer.Option("--fail-no-worker", help="Exit 3 when no worker of a queue lives.")
    ] = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Show, for each queue, how much is waiting, being worked on, being retried, and dead, and what is wrong.

    Queues in trouble come first. A queue that cannot be read is listed with its error, and the exit code is 1.

    Example: streamfea status events --fail-lag 100000 --fail-age 5m
    """
    age = None if fail_age is None else duration(fail_age)
    thresholds = Thresholds(fail_lag, age, fail_dead, fail_no_worker)
    if watch and json:
        raise UsageError("--watch is for people, --json for programs", remedy="choose one")
    settings = read_settings(config)
    chosen = settings.select(queues or [])
    with open_client(settings) as client:
        if watch:
            _watch(client, chosen)
            return
        figures = figures_of(client, chosen)
    if json:
        print_json(figures if all(isinstance(status, QueueStatus) for status in figures) else map(_as_row, figures))
    else:
        out = console()
        out.print(_shown(figures, out))
    _exit(figures, thresholds)


def _as_row(status: Figures) -> dict[str, Any]:
    return {field.name: getattr(status, field.name, None) for field in fields(QueueStatus)}


def _exit(figures: Sequence[Figures], thresholds: Thresholds) -> None:
    """Say on stderr which threshold was passed, or which queue cannot be read, and end accordingly."""
    passed = [line for status in figures if isinstance(status, QueueStatus) for line in thresholds.passed(status)]
    broken = errors_of(figures)
    report([*passed, *broken])
    if passed:
        raise typer.Exit(THRESHOLD_PASSED)
    if broken:
        raise typer.Exit(1)


def errors_of(figures: Sequence[Figures]) -> list[str]:
    """Return why queues, or the whole server, cannot be read."""
    broken = [(names_queue(status, status.error), status) for status in figures if status.error]
    return list(dict.fromkeys(line if line == status.error else f"queue {line}" for line, status in broken))


def _watch(client: Redis, queues: Sequence[Queue]) -> None:
    """Show the figures until Ctrl-C: on a terminal in place, elsewhere one below the other."""
    out = console()
    before: dict[str, QueueStatus] = {}
    since = time.monotonic()
    try:
        with Live(console=out, auto_refresh=False) as live:
            while True:
                figures = figures_of(client, queues)
                seconds, since = time.monotonic() - since, time.monotonic()
                rates = rates_between(before, figures, seconds) if before else {}
                clock = Text(f"{utc(int(time.time() * 1000))}, every {_WATCH_EVERY_SECONDS:g} s; Ctrl-C ends", "dim")
                frame = Group(clock, _shown(figures, out, rates, lines_around=_LINES_AROUND + 1))
                live.update(frame, refresh=True) if out.is_terminal else out.print(frame)
                before = {status.queue: status for status in figures if isinstance(status, QueueStatus)}
                time.sleep(_WATCH_EVERY_SECONDS)
    except KeyboardInterrupt:
        return


def _shown(
    figures: Sequence[Figures],
    out: Console,
    rates: dict[str, float | None] | None = None,
    lines_around: int = _LINES_AROUND,
) -> Group:
    """Return the table, queues in trouble first, and the problems, as many as a terminal has room for."""
    ordered = by_trouble(figures)
    lines = {names_queue(status, str(one)): status.queue for status in ordered for one in wrong_with(status)}
    wrong = list(lines.items())
    room = out.height - lines_around - min(len(wrong), _TOLD_AT_MOST + 1) if out.is_terminal else len(ordered)
    room = max(room, 3)
    parts: list[Any] = [_table(ordered[:room], ordered, rates)]
    if len(ordered) > room:
        parts.append(f"and {len(ordered) - room:,} more, {_quiet(ordered[room:])}; `streamfea status | less` has all")
    if wrong:
        parts += ["", *(plain(line) for line, _ in wrong[:_TOLD_AT_MOST])]
    if len(wrong) > _TOLD_AT_MOST:
        rest = len({queue for _, queue in wrong[_TOLD_AT_MOST:]})
        parts.append(f"and something in {counted(rest, 'other queue', 'other queues')}; name a queue to see it")
    return Group(*parts)


def _quiet(left_out: Sequence[Figures]) -> str:
    troubled = sum(1 for status in left_out if next(wrong_with(status), None))
    return f"{troubled:,} of them with something wrong" if troubled else "nothing wrong in them"


def _table(
    rows: Sequence[Figures],
    everything: Sequence[Figures],
    rates: dict[str, float | None] | None,
) -> Table:
    known = [status for status in everything if isinstance(status, QueueStatus)]
    with_lists = any(status.legacy_backlog is not None for status in known)
    lists, per_second = ["in list"] if with_lists else [], [] if rates is None else ["done/s"]
    numbers = [*lists, "length", "lag", "pending", "retrying", "dead", "oldest", "workers", *per_second]
    table = new_table("queue", *numbers, right=numbers)
    table.columns[0].overflow = "ellipsis"
    for status in rows:
        if isinstance(status, Unreadable):
            table.add_row(plain(status.queue), *["[bold red]?[/]"] * len(numbers))
        else:
            table.add_row(plain(status.queue), *_cells(status, with_lists), *_rate(rates, status.queue))
    if len(everything) > 1 and known:
        totals = total_of(known)
        rate = [] if rates is None else [f"{sum(rate or 0 for rate in rates.values()):,.0f}"]
        table.add_section()
        table.add_row(f"{len(everything):,} queues", *_cells(totals, with_lists), *rate, style="dim")
    return table


def _cells(status: QueueStatus, with_lists: bool) -> list[str]:
    backlog = ["-" if status.legacy_backlog is None else f"{status.legacy_backlog:,}"] if with_lists else []
    return [
        *backlog,
        f"{status.length:,}",
        status.lag_text,
        f"{status.pending:,}",
        f"[yellow]{status.retrying:,}[/]" if status.retrying else "0",
        f"[bold red]{status.dead:,}[/]" if status.dead else "0",
        human_ms(status.oldest_ms),
        "[bold red]0[/]" if status.waits_for_a_worker else f"{status.consumers:,}",
    ]


def _rate(rates: dict[str, float | None] | None, queue: str) -> list[str]:
    if rates is None:
        return []
    rate = rates.get(queue)
    return ["-" if rate is None else f"{rate:,.0f}"]
