"""`streamfea show`: prints one entry with its last error."""

import sys
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.text import Text

from streamfea.admin.choice import queues_and_ids
from streamfea.admin.entries import find_in_queues, next_step, record_of, view_as_json
from streamfea.admin.servers import open_client
from streamfea.cli.common import (
    ConfigOption,
    DebugOption,
    JsonOption,
    QueueAndIdsArgument,
    console,
    print_json,
    read_settings,
    utc,
)
from streamfea.cli.rendering import is_safe, rendered_fields, text_of
from streamfea.config.sections import Queue
from streamfea.core.printable import printable
from streamfea.core.wording import counted, human_ms
from streamfea.errors import StreamfeaError, UsageError
from streamfea.streams.connection.clock import age_ms, server_now_ms
from streamfea.streams.operating.find_entry import EntryView

__all__ = ["print_view", "register"]

_STATE_STYLES = {"in-flight": "green", "retrying": "yellow", "stranded": "bold red", "dead": "bold red"}

# Some twenty screens; more is of use only to a pager, or a program.
_SHOWN_ON_TERMINAL = 40_000


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(rich_help_panel="Look")(show)


def show(
    queue_and_id: QueueAndIdsArgument = None,
    raw: Annotated[bool, typer.Option("--raw", help="Write the record's bytes as they are, and nothing else.")] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Show one entry whole: where it is, its fields, and the last error with its traceback, if it has failed.

    Pending or not, in the stream or among the dead letters; in whichever queue has it, if none is named.

    Example: streamfea show 1764041633000-0
    """
    if raw and json:
        raise UsageError("--raw and --json exclude each other", remedy="choose one")
    settings = read_settings(config)
    queues, ids = queues_and_ids(settings, queue_and_id or [])
    if len(ids) != 1:
        found = "several entries are named" if ids else "no entry is named"
        raise UsageError(found, remedy="give one id, as in `streamfea show 1764041633000-0`")
    with open_client(settings) as client:
        views = find_in_queues(client, queues, ids[0])
        now_ms = server_now_ms(client)
    if raw:
        _write_record(*views[0])
    elif json:
        print_json(view_as_json(queue, view) for queue, view in views)
    else:
        for queue, view in views:
            print_view(queue, view, now_ms)


def print_view(queue: Queue, view: EntryView, now_ms: int) -> None:
    """Print an entry for people."""
    out = console()
    state = (view.state, _STATE_STYLES.get(view.state, "bold"))
    out.print(Text.assemble((view.id, "bold"), f" in queue {queue.name}: ", state), soft_wrap=True)
    for line in _about(view, now_ms):
        out.print(text_of(line), soft_wrap=True)
    out.print(text_of(next_step(queue, view), "dim"), soft_wrap=True)
    out.print()
    if view.fields:
        out.print(rendered_fields(view.fields, _SHOWN_ON_TERMINAL if out.is_terminal else None), soft_wrap=True)
    else:
        out.print("It has no fields: it was deleted from the stream." if view.pending else "It has no fields.")
    if view.error is not None:
        out.print()
        out.print(text_of(f"{view.error.type}: {view.error.error}", "bold red"), soft_wrap=True)
        if view.error.traceback:
            out.print()
            out.print(text_of(view.error.traceback.rstrip()), soft_wrap=True)


def _about(view: EntryView, now_ms: int) -> Iterator[str]:
    """Yield a line for each thing that has happened to an entry."""
    milliseconds, _, _ = view.id.partition("-")
    yield f"added      {utc(int(milliseconds))}, {human_ms(age_ms(view.id, now_ms))} ago"
    if view.deliveries is not None:
        times = counted(view.deliveries, "time", "times")
        yield f"delivered  {times}, last to {printable(view.consumer or '?', one_line=True)}"
    if view.pending is not None:
        yield f"idle       {human_ms(view.pending.idle_ms)}"
        if view.last_error and view.last_error.due_ms > now_ms:
            yield f"due in     {human_ms(view.last_error.due_ms - now_ms)}"
    if view.letter is not None:
        ago, reason = human_ms(now_ms - view.letter.failed_at_ms), printable(view.letter.reason, one_line=True)
        yield f"died       {ago} ago, {reason}; dead letter {view.letter.id}"


def _write_record(queue: Queue, view: EntryView) -> None:
    record = record_of(queue, view)
    if sys.stdout.isatty() and not is_safe(record):
        raise StreamfeaError(
            f"the record of {view.id} holds bytes that a terminal may take for orders",
            remedy="write it to a file or a pipe, as in --raw > record, or leave out --raw",
        )
    sys.stdout.buffer.write(record)
    sys.stdout.buffer.flush()
