"""`streamfea reset`: empty tables, and every entry anew."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

import typer
from sqlalchemy import Connection, func, select

from streamfea.cli.common import ConfigOption, DebugOption, console, open_client, queue_argument, read_settings
from streamfea.cli.database import open_engine
from streamfea.config.settings import Queue
from streamfea.core.durations import to_ms
from streamfea.database.exactly_once.ledger import LEDGER_TABLES, Ledger
from streamfea.database.schema.setup import recreate
from streamfea.database.schema.tables import tables_there
from streamfea.errors import StreamfeaError
from streamfea.handlers.loading import Handler, load_handlers
from streamfea.handlers.schemas import HandlerSchema, schema_of, schemas_of
from streamfea.streams.operating.members import members
from streamfea.streams.operating.rewind import at_work_within, rewind

_MANY_ROWS = 1_000


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(rich_help_panel="Database")(reset)


def reset(
    queue: Annotated[str, queue_argument("The queue to process anew.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also when consumers seem to be at work, or other queues fill the same tables."),
    ] = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Empty the tables of a queue's handler and process every entry that is still in the stream again. Asks first.

    Stop the queue's consumers before. Dead letters stay.

    Example: streamfea reset events
    """
    settings = read_settings(config)
    [chosen] = settings.select([queue])
    handlers = load_handlers(settings.select([]))
    schema = schema_of(next(one for one in handlers if one.queue.name == queue))
    if not force:
        _refuse_shared_tables(chosen, schema, handlers)
    views = [view for one in schemas_of(handlers) for view in one.views]
    at_work = timedelta(0) if force else at_work_within(chosen.claim_idle, chosen.block)
    with open_client(settings) as client, open_engine(settings) as engine:
        if not force:
            busy = [member.name for member in members(client, chosen.ref) if member.idle_ms < to_ms(at_work)]
            _refuse_consumers(chosen, busy)
        entries = int(client.xlen(chosen.stream))
        with engine.connect() as connection:
            rows = _rows(connection, schema)
        names = ", ".join(table.fullname for table in schema.tables) or "no table"
        if not yes:
            _ask(chosen, f"Drop {rows:,} rows of {names} and process {entries:,} entries again?", rows)
        # The tables are locked until the group is set back: if that fails, nothing has happened.
        with engine.begin() as connection:
            recreate(connection, schema, views)
            if tables_there(connection, LEDGER_TABLES):
                Ledger(chosen.ref).forget(connection)
            _refuse_consumers(chosen, rewind(client, chosen.ref, at_work))
    console().print(
        f"Dropped {rows:,} rows of {names}; {entries:,} entries of {chosen.stream} will be processed again."
    )


def _ask(queue: Queue, question: str, rows: int) -> None:
    """Ask before rows are dropped; for many of them a key pressed too soon is no answer."""
    if rows < _MANY_ROWS:
        typer.confirm(question, abort=True)
    elif typer.prompt(f"{question} Type the queue's name to do so", default="", show_default=False) != queue.name:
        raise StreamfeaError(f"that was not {queue.name}: nothing was changed")


def _refuse_consumers(queue: Queue, busy: Sequence[str]) -> None:
    if busy:
        raise StreamfeaError(
            f"queue {queue.name}: consumers are at work ({', '.join(busy)}): stop them first; "
            "if they were killed, wait for claim_idle or use --force"
        )


def _refuse_shared_tables(queue: Queue, schema: HandlerSchema, handlers: Sequence[Handler]) -> None:
    for other in handlers:
        shared = [table.fullname for table in schema_of(other).tables if table in schema.tables]
        if other.queue.name != queue.name and shared:
            raise StreamfeaError(
                f"queue {other.queue.name} also fills {', '.join(shared)}, and its rows would be lost: "
                f"reset both with --force, {other.queue.name} first"
            )


def _rows(connection: Connection, schema: HandlerSchema) -> int:
    there = tables_there(connection, schema.tables)
    return sum(connection.execute(select(func.count()).select_from(table)).scalar_one() for table in there)
