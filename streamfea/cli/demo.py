"""`streamfea demo`: processes real records on real servers, and kills a worker on the way."""

import gzip
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from redis import Redis
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from sqlalchemy import Engine, text

from streamfea.admin.produce import Produce
from streamfea.cli.common import DebugOption, console, new_table, read_settings
from streamfea.cli.rendering import plain
from streamfea.config.sections import Queue
from streamfea.database.connection.engine import open_database
from streamfea.database.schema.setup import all_schemas, create_all
from streamfea.embedded import stop
from streamfea.errors import StreamfeaError
from streamfea.handlers.loading import load_handlers
from streamfea.streams.connection.client import open_redis
from streamfea.streams.operating.dead_letters import DeadLetter, dead_letters
from streamfea.streams.operating.status import queue_status

_HANDLER, _DATA = "flights.py", "flights.jsonl.gz"
# In a wheel they are beside this module, in a clone in a folder of their own.
_EXAMPLES = (Path(__file__).with_name("example"), Path(__file__).parents[2] / "handlers_example")
_CONFIG = """\
# written by `streamfea demo`
[redis]
url = {redis}

[database]
url = {database}

[queues.flights]
handler = "flights"
guarantee = "exactly-once"
max_deliveries = 3
backoff = "300ms"
"""
_LONGEST_SECONDS = 300.0


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(rich_help_panel="Set up")(demo)


def demo(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR", help="Where the servers live; if not given, in a temporary folder.", show_default=False
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave servers and data there, to explore.")] = False,
    _debug: DebugOption = False,
) -> None:
    """Show it all: embedded servers, 19,811 real flights, two workers, one of them killed halfway.

    Each flight becomes one row, exactly-once. The handler and the records are copied into DIR, too.

    Example: streamfea demo var/demo --keep
    """
    with _folder(directory, keep=keep) as folder:
        _Demo(folder, keep=keep, out=console()).run()


@contextmanager
def _folder(directory: Path | None, *, keep: bool) -> Iterator[Path]:
    if directory is not None and directory.exists() and any(directory.iterdir()):
        raise StreamfeaError(f"{directory} is not empty", remedy="name a folder that the demo may have for itself")
    folder = Path(tempfile.mkdtemp(prefix="streamfea-demo-")) if directory is None else directory.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            stop(folder / "valkey")
            stop(folder / "postgresql")
            shutil.rmtree(folder)


@dataclass(slots=True)
class _Run:
    """What the demo observed while the workers ran."""

    rows: int = 0
    first_row_at: float = 0.0
    last_row_at: float = 0.0
    killed: int | None = None
    rows_when_killed: int = 0


class _Demo:
    def __init__(self, folder: Path, *, keep: bool, out: Console) -> None:
        self._folder = folder
        self._keep = keep
        self._out = out
        self._config = folder / "streamfea.toml"

    def run(self) -> None:
        redis, database = (json.dumps(f"embedded:{self._folder / name}") for name in ("valkey", "postgresql"))
        self._config.write_text(_CONFIG.format(redis=redis, database=database))
        examples = next(folder for folder in _EXAMPLES if (folder / _DATA).is_file())
        for name in (_HANDLER, _DATA):
            shutil.copyfile(examples / name, self._folder / name)
        sys.path.insert(0, str(self._folder))
        settings = read_settings(self._config)
        [queue] = settings.select(["flights"])
        self._out.print(f"Starting a Valkey and a PostgreSQL in {self._folder}")
        engine = open_database(settings.database)
        client = open_redis(settings.redis)
        try:
            create_all(engine, all_schemas(load_handlers([queue])))
            flights, spoiled = self._produce(client, queue)
            seen = self._consume(engine, flights)
            self._summarise(engine, client, queue, seen, flights, spoiled)
        finally:
            client.close()
            engine.dispose()

    def _produce(self, client: Redis, queue: Queue) -> tuple[int, int]:
        with gzip.open(self._folder / _DATA) as file:
            lines = file.readlines()
        for number, bad in enumerate(_spoiled(json.loads(lines[0]))):
            lines.insert((number + 1) * len(lines) // 7, bad)
        for _ in Produce(client, queue, lines):
            pass
        client.xadd(queue.stream, {"rekord": "a producer with a typo in the field's name"})
        spoiled = len(_spoiled({})) + 1
        flights = len(lines) - len(_spoiled({}))
        self._out.print(f"Put {flights:,} flights and {spoiled} spoiled records on the stream [bold]{queue.stream}[/]")
        return flights, spoiled

    def _consume(self, engine: Engine, flights: int) -> _Run:
        """Run `streamfea consume` with two workers until nothing is left, and kill one of them halfway."""
        command = [
            sys.executable,
            "-m",
            "streamfea",
            "consume",
            "--workers",
            "2",
            "--until-empty",
            "--config",
            str(self._config),
        ]
        self._out.print("Running [bold]streamfea consume --workers 2 --until-empty[/]")
        seen = _Run()
        log = self._folder / "consume.log"
        with log.open("wb") as log_file, subprocess.Popen(command, stderr=log_file, cwd=self._folder) as process:
            try:
                self._watch(process, engine, seen, flights)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            tail = "\n".join(log.read_text().splitlines()[-5:])
            raise StreamfeaError(f"consume ended with exit code {process.returncode}:\n{tail}")
        return seen

    def _watch(self, process: "subprocess.Popen[bytes]", engine: Engine, seen: _Run, flights: int) -> None:
        deadline = time.monotonic() + _LONGEST_SECONDS
        columns = TextColumn("{task.completed:>7,.0f} rows"), BarColumn()
        with Progress(*columns, console=self._out, transient=True) as bar:
            task = bar.add_task("", total=flights)
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise StreamfeaError(f"the workers did not finish within {_LONGEST_SECONDS:.0f} s")
                rows = _count(engine)
                if rows != seen.rows:
                    seen.last_row_at = time.monotonic()
                    seen.first_row_at = seen.first_row_at or seen.last_row_at
                    seen.rows = rows
                    bar.update(task, completed=rows)
                if seen.killed is None and rows >= flights // 2:
                    seen.killed = _kill_a_worker(process.pid)
                    seen.rows_when_killed = rows
                    self._out.print(
                        f"[red]Killed worker process {seen.killed} (SIGKILL)[/] after {rows:,} rows: "
                        "its successor takes over"
                    )
                time.sleep(0.02)
        seen.rows = _count(engine)

    def _summarise(self, engine: Engine, client: Redis, queue: Queue, seen: _Run, flights: int, spoiled: int) -> None:
        letters = list(dead_letters(client, queue.ref))
        figures = queue_status(client, queue)
        seconds = max(seen.last_row_at - seen.first_row_at, 0.001)
        rate = f"[bold green]{seen.rows / seconds:,.0f}[/] records/s from the first commit to the last"
        rest = f"{figures.dead} of {spoiled} spoiled records in the dead letters"
        lines = [
            f"[bold green]{seen.rows:,}[/] rows committed, {rate}",
            f"[bold green]{figures.pending}[/] pending, [bold green]{figures.lag}[/] waiting, {rest}",
        ]
        lines.append(
            f"{flights:,} flights, {seen.rows:,} rows: exactly-once, though what the killed worker held came again"
        )
        lines.append(
            "The rate has the kill and its take-over in it, retries, and a query for each new carrier, on two workers\n"
            "that share this machine with both servers; docs/benchmarks.md measures streamfea alone."
        )
        self._out.print(Panel("\n".join(lines), title="Every record is where it belongs", expand=False))
        self._out.print(_delays(engine))
        self._out.print()
        self._out.print(_letters_table(letters))
        self._out.print()
        self._out.print("Try next:")
        for command, what in self._next():
            self._out.print(f"  [bold]{command}[/]\n      {what}", soft_wrap=True)
        if seen.rows != flights or figures.pending or figures.lag or figures.dead != spoiled:
            raise StreamfeaError("the figures do not add up", remedy="please report it with the lines above")

    def _next(self) -> list[tuple[str, str]]:
        if self._keep:
            return [
                (f"cd {shlex.quote(str(self._folder))}", "configuration, handler and records are there"),
                ("streamfea status", "how far the queue is"),
                (f"streamfea produce flights {_DATA}", "all flights once more; then consume them:"),
                ("streamfea consume --until-empty", ""),
                ('streamfea embedded sql -c "SELECT count(*) FROM flight"', "psql; `embedded redis` is a redis-cli"),
                ("streamfea embedded stop", "when you are done"),
            ]
        return [
            ("streamfea demo DIR --keep", "leaves all this in DIR, to explore"),
            ("streamfea new-handler readings", "a handler of your own, its test and its configuration"),
        ]


def _spoiled(flight: dict[str, object]) -> list[bytes]:
    """Return records as they go wrong in real life."""
    without_carrier = {name: value for name, value in flight.items() if name != "carrier"}
    records = [
        without_carrier,
        {**flight, "dest": flight.get("origin")},
        {**flight, "time_hour": "2013-02-31T10:00:00Z"},
        {**flight, "distance": "far"},
    ]
    return [
        b'{"year": 2013, "month": 1, "day\n',
        *(json.dumps(record).encode() + b"\n" for record in records),
    ]


def _kill_a_worker(supervisor: int) -> int | None:
    import psutil  # noqa: PLC0415 - comes with the embedded servers, without which there is no demo

    workers = psutil.Process(supervisor).children()
    if not workers:
        return None
    workers[-1].kill()
    return int(workers[-1].pid)


def _count(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM flight")).scalar_one())


def _delays(engine: Engine) -> Table:
    query = text(
        "SELECT code, count(*) AS flights, avg(dep_delay) AS departure, avg(arr_delay) AS arrival "
        "FROM flight JOIN carrier ON carrier.id = carrier_id GROUP BY code ORDER BY flights DESC LIMIT 8"
    )
    table = new_table(
        "carrier",
        "flights",
        "mean delay at departure",
        "at arrival",
        right=["flights", "mean delay at departure", "at arrival"],
    )
    with engine.connect() as connection:
        for row in connection.execute(query):
            table.add_row(row.code, f"{row.flights:,}", f"{row.departure:+.1f} min", f"{row.arrival:+.1f} min")
    return table


def _letters_table(letters: list[DeadLetter]) -> Table:
    table = new_table("dead letter", "reason", "tries", "error", right=["tries"])
    for letter in letters:
        table.add_row(letter.entry_id, letter.reason, str(letter.deliveries), plain(letter.summary))
    return table
