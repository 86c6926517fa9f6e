"""Starts a queue over: empties its tables and delivers every entry again."""

from collections.abc import Sequence
from dataclasses import dataclass

from redis import Redis
from sqlalchemy import Connection, Engine, Table, func, select

from streamfea.admin.rewind import refuse_consumers_at_work, rewind
from streamfea.config.sections import Queue
from streamfea.config.settings import Settings
from streamfea.database.exactly_once.ledger import LEDGER_TABLES, Ledger
from streamfea.database.schema.setup import recreate
from streamfea.database.schema.tables import tables_there
from streamfea.errors import StreamfeaError
from streamfea.handlers.loading import Handler, load_handlers
from streamfea.handlers.schemas import HandlerSchema, schema_of, schemas_of

__all__ = ["ResetPlan", "plan_reset", "reset"]


@dataclass(frozen=True, slots=True)
class ResetPlan:
    """What a reset will do to a queue: drop `rows` of the tables in `schema`, and have `entries` read again.

    `views` are those of all handlers: they may lean on these tables, and are made anew.
    """

    queue: Queue
    schema: HandlerSchema
    views: list[Table]
    rows: int
    entries: int

    @property
    def tables(self) -> str:
        """The names of the tables, in a sentence."""
        return ", ".join(table.fullname for table in self.schema.tables) or "no table"


def plan_reset(settings: Settings, client: Redis, engine: Engine, name: str, *, force: bool = False) -> ResetPlan:
    """Return the plan of a reset of the queue `name`. Changes nothing.

    Raises `StreamfeaError` when consumers are at work, or other queues fill the same tables, unless `force`d.
    """
    [queue] = settings.select([name])
    handlers = load_handlers(settings.select([]))
    schema = schema_of(next(handler for handler in handlers if handler.queue.name == name))
    if not force:
        _refuse_shared_tables(queue, schema, handlers)
        refuse_consumers_at_work(client, queue)
    entries = int(client.xlen(queue.stream))
    with engine.connect() as connection:
        rows = _rows(connection, schema)
    views = [view for each in schemas_of(handlers) for view in each.views]
    return ResetPlan(queue, schema, views, rows, entries)


def reset(client: Redis, engine: Engine, plan: ResetPlan, *, force: bool = False) -> None:
    """Make the tables anew and set the group back to the beginning; dead letters stay.

    The tables are locked until the group is set back: if that fails, nothing has happened. Raises `StreamfeaError`
    when consumers are at work, unless `force`d.
    """
    queue = plan.queue
    with engine.begin() as connection:
        recreate(connection, plan.schema, plan.views)
        if tables_there(connection, LEDGER_TABLES):
            Ledger(queue.ref).forget(connection)
        rewind(client, queue, force=force)


def _refuse_shared_tables(queue: Queue, schema: HandlerSchema, handlers: Sequence[Handler]) -> None:
    for other in handlers:
        shared = [table.fullname for table in schema_of(other).tables if table in schema.tables]
        if other.queue.name != queue.name and shared:
            raise StreamfeaError(
                f"queue {other.queue.name} also fills {', '.join(shared)}, and its rows would be lost",
                remedy=f"reset both with --force, {other.queue.name} first",
            )


def _rows(connection: Connection, schema: HandlerSchema) -> int:
    there = tables_there(connection, schema.tables)
    return sum(connection.execute(select(func.count()).select_from(table)).scalar_one() for table in there)
