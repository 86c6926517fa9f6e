"""`streamfea produce`: adds records from a file or a pipe to a stream."""

import gzip
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.console import Console
from rich.progress import Progress

from streamfea.admin.produce import LONGEST_RECORD, Produce
from streamfea.admin.servers import open_client
from streamfea.cli.common import ConfigOption, DebugOption, queue_argument, read_settings
from streamfea.errors import StreamfeaError


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
    with open_client(settings) as client, _opened(file) as opened, _progress() as advance:
        job = Produce(client, chosen, _lines(opened), rate=rate, to_list=to_list)
        for count in job:
            advance(count)
    where = f"pushed to the list {chosen.legacy_list}" if to_list else f"on the stream {chosen.stream}"
    Console(stderr=True, highlight=False).print(f"{job.sent:,} records are {where}.")


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield lines; of one that is too long, no more than tells so."""
    return iter(lambda: file.readline(LONGEST_RECORD + 2), b"")


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
