"""`streamfea causes`: failures grouped by their cause."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from streamfea.admin.causes import CauseListing
from streamfea.admin.choice import duration
from streamfea.admin.servers import open_client
from streamfea.cli.common import (
    ConfigOption,
    DebugOption,
    JsonOption,
    QueuesArgument,
    console,
    print_json,
    read_settings,
    utc,
)
from streamfea.cli.progress import run
from streamfea.config.sections import Queue
from streamfea.core.durations import to_ms
from streamfea.core.printable import printable
from streamfea.core.wording import human_ms
from streamfea.streams.connection.clock import server_now_ms
from streamfea.streams.operating.causes import Cause

__all__ = ["register"]

_MINUTE_MS = 60_000
_NO_DECIMALS_FROM = 10


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(rich_help_panel="Look")(causes)


def causes(
    queues: QueuesArgument = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Only what failed in the last 1h, say.", show_default=False)
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Show why records fail: failures grouped by cause, retried ones and dead letters together.

    One cause is one type of error, raised in one function of the handler, whose messages differ in numbers, ids and
    quoted text only. `retry`, `dead list`, `dead replay` and `dead purge` take it as --cause.

    Example: streamfea causes events --since 1h
    """
    within = None if since is None else duration(since)
    settings = read_settings(config)
    chosen = settings.select(queues or [])
    with open_client(settings) as client:
        now_ms = server_now_ms(client)
        listing = CauseListing(client, chosen, 0 if within is None else max(0, now_ms - to_ms(within)))
        run(listing)
    if json:
        print_json(_as_row(queue, cause) for queue, cause in listing.causes)
    else:
        _print(listing.causes, chosen, now_ms)


def _as_row(queue: Queue, cause: Cause) -> dict[str, Any]:
    return {
        "queue": queue.name,
        "cause": cause.cause,
        "count": cause.count,
        "dead": cause.dead,
        "retrying": cause.retrying,
        "error_type": cause.error_type,
        "error": cause.error,
        "where": cause.where,
        "first_seen": _iso(cause.first_ms),
        "last_seen": _iso(cause.last_ms),
        "rate_per_minute": round(_rate(cause), 1),
        "sample": cause.sample_id,
        "sample_is": cause.sample_is,
    }


def _print(found: Sequence[tuple[Queue, Cause]], queues: Sequence[Queue], now_ms: int) -> None:
    out = console()
    if not found:
        where = queues[0].name if len(queues) == 1 else f"{len(queues):,} queues"
        out.print(f"Nothing has failed in {where}.", markup=False)
    for number, (queue, cause) in enumerate(found):
        if number:
            out.print()
        times = f"{cause.count:,} × "  # noqa: RUF001 - it is what is meant
        head = Text.assemble((times, "bold"), printable(cause.summary or "unknown", one_line=True))
        if cause.where:
            head.append(f" in {printable(cause.where, one_line=True)}")
        out.print(head, overflow="ellipsis", no_wrap=True)
        for line in _about(queue, cause, now_ms):
            out.print(f"  {line}", markup=False, soft_wrap=True)
    for command in _next(found):
        out.print(command, markup=False, soft_wrap=True)


def _about(queue: Queue, cause: Cause, now_ms: int) -> tuple[str, str]:
    rate, ago = _rate(cause), human_ms(max(0, now_ms - cause.last_ms))
    a_minute = f"{rate:,.0f}" if rate >= _NO_DECIMALS_FROM else f"{rate:.1f}"
    name = f"{printable(queue.name)}, cause {cause.cause or 'not noted'}"
    return (
        f"{name}: {cause.dead:,} dead, {cause.retrying:,} retrying, {a_minute} a minute",
        f"since {utc(cause.first_ms)}, last {utc(cause.last_ms)}, {ago} ago",
    )


def _next(found: Sequence[tuple[Queue, Cause]]) -> list[str]:
    """Return the commands that come next, for the most frequent cause."""
    if not found:
        return []
    queue, cause = found[0]
    look = "dead show" if cause.sample_is == "dead" else "show"
    lines = ["", f"Look at one:  streamfea {look} {queue.name} {cause.sample_id}"]
    if cause.dead and cause.cause:
        lines.append(f"Do them again:  streamfea dead replay {queue.name} --cause {cause.cause}")
    if cause.retrying and cause.cause:
        lines.append(f"Try them now:  streamfea retry {queue.name} --cause {cause.cause}")
    return lines


def _rate(cause: Cause) -> float:
    """Return how many failed in a minute, from the first to the last."""
    return cause.count / max(1.0, (cause.last_ms - cause.first_ms) / _MINUTE_MS)


def _iso(milliseconds: int) -> str | None:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, tz=UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError):
        return None
