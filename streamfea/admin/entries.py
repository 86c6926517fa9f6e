"""One entry whole: found in whichever queue has it, as a program reads it, and what to do next."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from streamfea.config.sections import Queue
from streamfea.core.entry import Entry
from streamfea.core.record_field import RecordField
from streamfea.errors import StreamfeaError
from streamfea.streams.connection.errors import must_stop, reason_of
from streamfea.streams.operating.find_entry import EntryView, find_entry

__all__ = ["fields_as_json", "find_in_queues", "next_step", "record_of", "view_as_json"]


def find_in_queues(client: Redis, queues: Sequence[Queue], entry_id: str) -> list[tuple[Queue, EntryView]]:
    """Return the entry of each queue that has one with this id; raise `StreamfeaError` when none has."""
    found: list[tuple[Queue, EntryView]] = []
    unreadable: list[str] = []
    for queue in queues:
        try:
            view = find_entry(client, queue.ref, queue.claim_idle, entry_id)
        except RedisError as error:
            if len(queues) == 1 or not must_stop(error):
                raise
            unreadable.append(f"; queue {queue.name} cannot be read: {reason_of(error)}")
            continue
        if view is not None:
            found.append((queue, view))
    if not found:
        raise _nothing_found(queues, entry_id, "".join(unreadable))
    return found


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


def fields_as_json(fields: Mapping[bytes, bytes]) -> dict[str, Any]:
    """Return fields as JSON can hold them: text as a string, bytes that are none as `{"base64": …}`."""
    return {name.decode("utf-8", "backslashreplace"): _json_value(value) for name, value in fields.items()}


def next_step(queue: Queue, view: EntryView) -> str:
    """Return what happens to an entry next, or the command that makes something happen, in a sentence."""
    name = queue.name
    match view.state:
        case "waiting":
            return "Not delivered yet: a worker will read it in its turn."
        case "acknowledged":
            return "Done: it is acknowledged."
        case "in-flight":
            return "A worker has it, and may be running it right now."
        case "retrying":
            return f"streamfea retry {name} {view.id} makes it due now, streamfea reject {name} {view.id} gives it up."
        case "stranded":
            return f"No worker takes it: streamfea consume {name} has to run."
        case "dead":
            letter = view.letter.id if view.letter else ""
            return f"streamfea dead replay {name} {letter} puts it back on the stream."


def record_of(queue: Queue, view: EntryView) -> bytes:
    """Return the record that an entry holds; raise `StreamfeaError` when it holds none."""
    entry = Entry(queue.name, queue.stream, view.id, view.fields or {})
    field = RecordField(queue.field)
    problem = field.problem(entry)
    if problem is not None:
        raise StreamfeaError(f"entry {view.id} holds no record: {problem}")
    return field.record(entry)


def _nothing_found(queues: Sequence[Queue], entry_id: str, unreadable: str) -> StreamfeaError:
    queue = f"queue {queues[0].name}: " if len(queues) == 1 else ""
    where = f"in {queues[0].stream}" if len(queues) == 1 else f"in any of {len(queues):,} queues"
    return StreamfeaError(
        f"{queue}there is no entry {entry_id} {where}, and no dead letter of it; it was never there, or it is done and "
        f"trimmed{unreadable}"
    )


def _json_value(value: bytes) -> object:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}
