"""`streamfea show`: prints one entry with its last error."""

import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from redis import Redis
from redis.exceptions import RedisError
from rich.text import Text

from streamfea.admin.choice import queues_and_ids
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
from streamfea.cli.rendering import fields_as_json, is_safe, rendered_fields, text_of
from streamfea.config.settings import Queue
from streamfea.core.entry import Entry
from streamfea.core.printable import printable
from streamfea.core.record_field import RecordField
from streamfea.core.wording import counted, human_ms
from streamfea.errors import StreamfeaError, UsageError
from streamfea.streams.connection.clock import age_ms, server_now_ms
from streamfea.streams.connection.errors import must_stop, reason_of
from streamfea.streams.operating.find_entry import EntryView, find_entry

__all__ = ["print_view", "register", "view_as_json"]

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
        raise UsageError(
            "no entry is named, or several are", remedy="give one id, as in `streamfea show 1764041633000-0`"
        )
    with open_client(settings) as client:
        found = _look_in(client, queues, ids[0])
        now_ms = server_now_ms(client)
    if raw:
        _write_record(*found[0])
    elif json:
        print_json(view_as_json(queue, view) for queue, view in found)
    else:
        for queue, view in found:
            print_view(queue, view, now_ms)


def _look_in(client: Redis, queues: Sequence[Queue], wanted: str) -> list[tuple[Queue, EntryView]]:
    """Return the entry of each queue that has one with this id; raise `StreamfeaError` when none has."""
    found: list[tuple[Queue, EntryView]] = []
    unreadable: list[str] = []
    for queue in queues:
        try:
            view = find_entry(client, queue.ref, queue.claim_idle, wanted)
        except RedisError as error:
            if len(queues) == 1 or not must_stop(error):
                raise
            unreadable.append(f"; queue {queue.name} cannot be read: {reason_of(error)}")
            continue
        if view is not None:
            found.append((queue, view))
    if found:
        return found
    where = f"in {queues[0].stream}" if len(queues) == 1 else f"in any of {len(queues):,} queues"
    raise StreamfeaError(
        f"{f'queue {queues[0].name}: ' if len(queues) == 1 else ''}there is no entry {wanted} {where}, "
        f"and no dead letter of it; it was never there, or it is done and trimmed{''.join(unreadable)}"
    )


def view_as_json(queue: Queue, view: EntryView) -> dict[str, Any]:
    """Return an entry for programs."""
    error, pending, letter = view.error, view.pending, view.letter
    return {
        "queue": queue.name,
        "stream": queue.stream,
        "id": view.id,
        "state": view.state,
        "consumer": view.consumer,
        "idle_ms": pending.idle_ms if pending else None,
        "deliveries": view.deliveries,
        "due_at_ms": (view.last_error.due_ms or None) if view.last_error else None,
        "dead_letter": letter.id if letter else None,
        "reason": letter.reason if letter else None,
        "failed_at": letter.failed_at if letter else None,
        "error_type": error.type if error else None,
        "error": error.error if error else None,
        "traceback": error.traceback if error else None,
        "fields": None if view.fields is None else fields_as_json(view.fields),
    }


def print_view(queue: Queue, view: EntryView, now_ms: int) -> None:
    """Print an entry for people."""
    out = console()
    state = (view.state, _STATE_STYLES.get(view.state, "bold"))
    out.print(Text.assemble((view.id, "bold"), f" in queue {queue.name}: ", state), soft_wrap=True)
    for line in _about(view, now_ms):
        out.print(text_of(line), soft_wrap=True)
    out.print(text_of(_remedy(queue.name, view), "dim"), soft_wrap=True)
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


def _remedy(queue: str, view: EntryView) -> str:
    match view.state:
        case "waiting":
            return "Not delivered yet: a worker will read it in its turn."
        case "acknowledged":
            return "Done: it is acknowledged."
        case "in-flight":
            return "A worker has it, and may be running it right now."
        case "retrying":
            return (
                f"streamfea retry {queue} {view.id} makes it due now, streamfea reject {queue} {view.id} gives it up."
            )
        case "stranded":
            return f"No worker takes it: streamfea consume {queue} has to run."
        case "dead":
            letter = view.letter.id if view.letter else ""
            return f"streamfea dead replay {queue} {letter} puts it back on the stream."


def _write_record(queue: Queue, view: EntryView) -> None:
    entry = Entry(queue.name, queue.stream, view.id, view.fields or {})
    field = RecordField(queue.field)
    problem = field.problem(entry)
    if problem is not None:
        raise StreamfeaError(f"entry {view.id} holds no record: {problem}")
    record = field.record(entry)
    if sys.stdout.isatty() and not is_safe(record):
        raise StreamfeaError(
            f"the record of {view.id} holds bytes that a terminal may take for orders",
            remedy="write it to a file or a pipe, as in --raw > record, or leave out --raw",
        )
    sys.stdout.buffer.write(record)
    sys.stdout.buffer.flush()
