"""`streamfea produce`: records onto a stream, from a file or a pipe."""

import gzip
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from redis import Redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.progress import Progress

from streamfea.cli.common import ConfigOption, DebugOption, open_client, queue_argument, read_settings
from streamfea.config.settings import Queue
from streamfea.errors import ConfigurationError, StreamfeaError
from streamfea.streams.connection.errors import told

__all__ = ["produce", "put_on_stream"]

_AT_ONCE = 1000
_BYTES_AT_ONCE = 4 * 1024 * 1024
# The longest value that Redis takes, unless it is set otherwise (redis.conf, proto-max-bulk-len).
_LONGEST_RECORD = 512 * 1024 * 1024


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(rich_help_panel="Work")(produce)


def produce(
    queue: Annotated[str, queue_argument("The queue whose stream gets the records.")],
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="One record a line, also gzipped (.gz); - for standard input.")
    ] = "-",
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="At most so many records a second.", show_default=False)
    ] = None,
    to_list: Annotated[
        bool, typer.Option("--list", help="Push to the queue's legacy_list instead, as its old producers do.")
    ] = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Put one record a line onto a queue's stream; blank lines are skipped.

    Example: streamfea produce events records.jsonl.gz --rate 100
    """
    settings = read_settings(config)
    [chosen] = settings.select([queue])
    if to_list and chosen.legacy_list is None:
        raise ConfigurationError(f"queue {queue} has no list: set queues.{queue}.legacy_list, or leave out --list")
    with open_client(settings) as client, _opened(file) as opened, _progress() as advance:
        count = put_on_stream(client, chosen, _lines(opened), rate=rate, advance=advance, to_list=to_list)
    where = f"pushed to the list {chosen.legacy_list}" if to_list else f"on the stream {chosen.stream}"
    Console(stderr=True, highlight=False).print(f"{count:,} records are {where}.")


def put_on_stream(
    client: Redis,
    queue: Queue,
    lines: Iterable[bytes],
    *,
    rate: float | None = None,
    advance: Callable[[int], None] | None = None,
    to_list: bool = False,
) -> int:
    """Add each line that is not blank to the queue's stream, or push it to its list, in order; return how many.

    Raises `StreamfeaError` that says how many are there when Redis fails or a line cannot be used.
    """
    sent = 0
    where = "in the list" if to_list else "on the stream"
    started = time.monotonic()
    at_once = _AT_ONCE if rate is None else max(1, min(_AT_ONCE, int(rate / 10)))

    def so_far() -> str:
        return f"{sent:,} records are {where}"

    for chunk in _chunks(_numbered(lines, so_far), at_once):
        with client.pipeline(transaction=True) as pipeline:
            for number, line in chunk:
                if to_list:
                    pipeline.lpush(queue.legacy_list or "", line)
                else:
                    pipeline.xadd(queue.stream, _fields(queue, number, line, sent))
            try:
                pipeline.execute()
            except RedisError as error:
                raise StreamfeaError(
                    f"Redis: {told(error)}; {so_far()}, those from line {chunk[0][0]} on are not "
                    "(unless just the answer was lost)"
                ) from error
        sent += len(chunk)
        if advance is not None:
            advance(len(chunk))
        if rate is not None:
            time.sleep(max(0.0, started + sent / rate - time.monotonic()))
    return sent


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield lines; of one that is too long, no more than tells so."""
    return iter(lambda: file.readline(_LONGEST_RECORD + 2), b"")


def _numbered(lines: Iterable[bytes], so_far: Callable[[], str]) -> Iterator[tuple[int, bytes]]:
    """Yield each line that is not blank, and its number."""
    for number, line in enumerate(lines, 1):
        record = line.rstrip(b"\r\n")
        if len(record) > _LONGEST_RECORD:
            raise StreamfeaError(
                f"line {number} is longer than the {_LONGEST_RECORD // 2**20} MiB that Redis takes in one value: "
                f"split it, or store it elsewhere and send where it is; {so_far()}"
            )
        if record:
            yield number, record


def _chunks(lines: Iterator[tuple[int, bytes]], size: int) -> Iterator[list[tuple[int, bytes]]]:
    chunk: list[tuple[int, bytes]] = []
    length = 0
    for one in lines:
        chunk.append(one)
        length += len(one[1])
        if len(chunk) == size or length >= _BYTES_AT_ONCE:
            yield chunk
            chunk, length = [], 0
    if chunk:
        yield chunk


def _fields(queue: Queue, number: int, line: bytes, sent: int) -> dict[Any, Any]:
    """Return the fields of the entry for a line: the record, or with `*` the members of its JSON object."""
    if queue.field != "*":
        return {queue.field: line}
    try:
        members = json.loads(line)
    except ValueError as error:
        raise StreamfeaError(f"line {number} is not JSON ({error}); {_sent(sent)}") from error
    if not isinstance(members, dict) or not members:
        raise StreamfeaError(f'line {number} is no JSON object with members, which field = "*" needs; {_sent(sent)}')
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in members.items()}


def _sent(count: int) -> str:
    return f"{count:,} records before it are on the stream"


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        opened: Any = gzip.open(file) if file.endswith(".gz") else Path(file).open("rb")  # noqa: SIM115 - see below
    except OSError as error:
        raise StreamfeaError(f"cannot read {file}: {error.strerror}") from error
    with opened:
        yield opened


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """Show how many have been put, on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with Progress(
        "[progress.description]{task.completed:,.0f} records",
        "{task.elapsed:.0f} s",
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("", total=None)
        yield lambda count: bar.advance(task, count)
