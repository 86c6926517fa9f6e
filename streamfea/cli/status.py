"""`streamfea status`: figures of each queue, and what is wrong."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Annotated, Any

import typer
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as NoAnswer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streamfea.cli.common import (
    THRESHOLD_PASSED,
    ConfigOption,
    DebugOption,
    JsonOption,
    QueuesArgument,
    console,
    counted,
    duration_option,
    human_ms,
    new_table,
    open_client,
    print_json,
    read_settings,
    report,
    utc,
)
from streamfea.cli.rendering import plain
from streamfea.config.settings import Queue
from streamfea.core.durations import to_ms
from streamfea.errors import UsageError
from streamfea.streams.connection.errors import told
from streamfea.streams.operating.status import QueueStatus, queue_status

_WATCH_EVERY_SECONDS = 2.0
_TOLD_AT_MOST = 6
# What stands around the rows of the table: its head, the totals, what is left out, and two lines of the prompt.
_LINES_AROUND = 6


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A queue that cannot be read, with the error."""

    queue: str
    stream: str
    group: str
    error: str


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The limits that `--fail-…` options set."""

    lag: int | None = None
    age: timedelta | None = None
    dead: int | None = None
    no_worker: bool = False

    def passed(self, status: QueueStatus) -> Iterator[str]:
        """Yield a sentence for each threshold that a queue has passed."""
        if self.lag is not None and status.lag > self.lag:
            yield f"queue {status.queue}: {_lag(status)} entries wait, more than {self.lag:,}"
        if self.age is not None and (status.oldest_ms or 0) > to_ms(self.age):
            limit = human_ms(to_ms(self.age))
            yield f"queue {status.queue}: the oldest entry waits for {human_ms(status.oldest_ms)}, longer than {limit}"
        if self.dead is not None and status.dead > self.dead:
            dead = counted(status.dead, "dead letter", "dead letters")
            yield f"queue {status.queue}: {dead}, more than {self.dead:,}"
        if self.no_worker and not status.consumers:
            yield f"queue {status.queue}: no worker runs"


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

    Queues in trouble come first. A queue that cannot be read is told of with the others, and then the exit code is 1.

    Example: streamfea status events --fail-lag 100000 --fail-age 5m
    """
    age = None if fail_age is None else duration_option(fail_age)
    thresholds = Thresholds(fail_lag, age, fail_dead, fail_no_worker)
    if watch and json:
        raise UsageError("--watch is for people, --json for programs: choose one")
    settings = read_settings(config)
    chosen = settings.select(queues or [])
    with open_client(settings) as client:
        if watch:
            _watch(client, chosen)
            return
        figures = [_figures(client, queue) for queue in chosen]
    if json:
        print_json(figures if all(isinstance(status, QueueStatus) for status in figures) else map(_as_row, figures))
    else:
        out = console()
        out.print(_shown(figures, out))
    _exit(figures, thresholds)


def _figures(client: Redis, queue: Queue) -> QueueStatus | Unreadable:
    """Return the figures of a queue, or what its keys have against it; raise when the whole server is away."""
    try:
        return queue_status(client, queue)
    except (NoConnection, NoAnswer):
        raise
    except RedisError as error:
        return Unreadable(queue.name, queue.stream, queue.group, f"stream {queue.stream}: {told(error)}")


def _as_row(status: QueueStatus | Unreadable) -> dict[str, Any]:
    return {field.name: getattr(status, field.name, None) for field in fields(QueueStatus)}


def _exit(figures: Sequence[QueueStatus | Unreadable], thresholds: Thresholds) -> None:
    """Say on stderr which threshold was passed, or which queue cannot be read, and end accordingly."""
    passed = [line for status in figures if isinstance(status, QueueStatus) for line in thresholds.passed(status)]
    broken = [f"queue {status.queue}: {status.error}" for status in figures if status.error]
    report([*passed, *broken])
    if passed:
        raise typer.Exit(THRESHOLD_PASSED)
    if broken:
        raise typer.Exit(1)


def _watch(client: Redis, queues: Sequence[Queue]) -> None:
    """Show the figures until Ctrl-C: on a terminal in place, elsewhere one below the other."""
    out = console()
    before: dict[str, QueueStatus] = {}
    since = time.monotonic()
    try:
        with Live(console=out, auto_refresh=False) as live:
            while True:
                figures = [_figures(client, queue) for queue in queues]
                seconds, since = time.monotonic() - since, time.monotonic()
                rates = _rates(before, figures, seconds) if before else {}
                clock = Text(f"{utc(int(time.time() * 1000))}, every {_WATCH_EVERY_SECONDS:g} s; Ctrl-C ends", "dim")
                frame = Group(clock, _shown(figures, out, rates, lines_around=_LINES_AROUND + 1))
                live.update(frame, refresh=True) if out.is_terminal else out.print(frame)
                before = {status.queue: status for status in figures if isinstance(status, QueueStatus)}
                time.sleep(_WATCH_EVERY_SECONDS)
    except KeyboardInterrupt:
        return


def _rates(
    before: dict[str, QueueStatus], figures: Sequence[QueueStatus | Unreadable], seconds: float
) -> dict[str, float | None]:
    """Return how many entries a second each queue has done since; None where the server does not count them."""
    rates: dict[str, float | None] = {}
    for status in figures:
        last = before.get(status.queue)
        read = status.entries_read if isinstance(status, QueueStatus) else None
        if isinstance(status, QueueStatus) and last and read is not None and last.entries_read is not None:
            done = (read - status.pending) - (last.entries_read - last.pending)
            rates[status.queue] = max(0.0, done / seconds)
        else:
            rates[status.queue] = None
    return rates


def _shown(
    figures: Sequence[QueueStatus | Unreadable],
    out: Console,
    rates: dict[str, float | None] | None = None,
    lines_around: int = _LINES_AROUND,
) -> Group:
    """Return the table, queues in trouble first, and what is wrong; as much as a terminal has room for."""
    ordered = sorted(figures, key=_trouble)
    wrong = [(status.queue, line) for status in ordered for line in _wrong(status)]
    room = out.height - lines_around - min(len(wrong), _TOLD_AT_MOST + 1) if out.is_terminal else len(ordered)
    room = max(room, 3)
    parts: list[Any] = [_table(ordered[:room], ordered, rates)]
    if len(ordered) > room:
        parts.append(f"and {len(ordered) - room:,} more, {_quiet(ordered[room:])}; `streamfea status | less` has all")
    if wrong:
        parts += ["", *(plain(f"{queue}: {line}") for queue, line in wrong[:_TOLD_AT_MOST])]
    if len(wrong) > _TOLD_AT_MOST:
        rest = len({queue for queue, _ in wrong[_TOLD_AT_MOST:]})
        parts.append(f"and something in {counted(rest, 'other queue', 'other queues')}; name a queue to see it")
    return Group(*parts)


def _quiet(left_out: Sequence[QueueStatus | Unreadable]) -> str:
    troubled = sum(1 for status in left_out if next(_wrong(status), None))
    return f"{troubled:,} of them with something wrong" if troubled else "nothing wrong in them"


def _trouble(status: QueueStatus | Unreadable) -> tuple[int, int]:
    """Return what sorts the queues, the worst first, those alike as they are configured."""
    if isinstance(status, Unreadable) or status.error:
        return 0, 0
    if status.waits_for_a_worker:
        return 1, -(status.oldest_ms or 0)
    if status.dead or status.retrying:
        return 2, 0
    return (3 if status.lag or status.pending else 4), 0


def _wrong(status: QueueStatus | Unreadable) -> Iterator[str]:
    """Yield what is wrong with a queue, and the next command."""
    if status.error:
        yield status.error
    if isinstance(status, Unreadable):
        return
    if status.waits_for_a_worker:
        waiting = status.lag + status.pending + (status.legacy_backlog or 0)
        some = counted(waiting, "record waits", "records wait")
        yield f"{some} and no worker runs: streamfea consume {status.queue}"
    if status.retrying:
        yield f"{counted(status.retrying, 'record has', 'records have')} failed: streamfea pending {status.queue}"
    if status.dead:
        yield f"{counted(status.dead, 'dead letter', 'dead letters')}: streamfea dead list {status.queue}"


def _table(
    rows: Sequence[QueueStatus | Unreadable],
    everything: Sequence[QueueStatus | Unreadable],
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
        totals = _total(known)
        rate = [] if rates is None else [f"{sum(rate or 0 for rate in rates.values()):,.0f}"]
        table.add_section()
        table.add_row(f"{len(everything):,} queues", *_cells(totals, with_lists), *rate, style="dim")
    return table


def _cells(status: QueueStatus, with_lists: bool) -> list[str]:
    backlog = ["-" if status.legacy_backlog is None else f"{status.legacy_backlog:,}"] if with_lists else []
    return [
        *backlog,
        f"{status.length:,}",
        _lag(status),
        f"{status.pending:,}",
        f"[yellow]{status.retrying:,}[/]" if status.retrying else "0",
        f"[bold red]{status.dead:,}[/]" if status.dead else "0",
        human_ms(status.oldest_ms),
        "[bold red]0[/]" if status.waits_for_a_worker else f"{status.consumers:,}",
    ]


def _lag(status: QueueStatus) -> str:
    return f"{status.lag:,}" if status.lag_exact else f"≤{status.lag:,}"


def _rate(rates: dict[str, float | None] | None, queue: str) -> list[str]:
    if rates is None:
        return []
    rate = rates.get(queue)
    return ["-" if rate is None else f"{rate:,.0f}"]


def _total(known: Sequence[QueueStatus]) -> QueueStatus:
    summed = ("length", "lag", "pending", "retrying", "dead", "consumers")
    backlogs = [status.legacy_backlog for status in known if status.legacy_backlog is not None]
    return replace(
        known[0],
        **{name: sum(getattr(status, name) for status in known) for name in summed},
        lag_exact=all(status.lag_exact for status in known),
        lag_ms=max((status.lag_ms for status in known if status.lag_ms is not None), default=None),
        oldest_pending_ms=max(
            (status.oldest_pending_ms for status in known if status.oldest_pending_ms is not None), default=None
        ),
        legacy_backlog=sum(backlogs) if backlogs else None,
    )


def _largest(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)
