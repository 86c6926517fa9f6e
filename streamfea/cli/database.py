"""`streamfea initdb` and `streamfea dropdb`: the tables of the handlers' models."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from sqlalchemy import Engine, Table

from streamfea.cli.common import ConfigOption, DebugOption, console, read_settings
from streamfea.database.engine import open_database
from streamfea.database.ledger import ledger_tables
from streamfea.database.schema import create_tables, drop_tables
from streamfea.handlers import load_handlers, tables_of
from streamfea.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command(rich_help_panel="Database")(initdb)
    app.command(rich_help_panel="Database")(dropdb)


def initdb(config: ConfigOption = None, _debug: DebugOption = False) -> None:
    """Create the tables of all configured handlers that are missing."""
    settings = read_settings(config)
    tables = _tables(settings)
    with _database(settings) as engine:
        created = create_tables(engine, tables)
    there = len(tables) - len(created)
    also = f"; {there} there already" if there else ""
    console().print(f"Created {', '.join(created)}{also}." if created else "All tables are there already.")


def dropdb(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Drop the tables of all configured handlers, and every row in them. Asks first."""
    settings = read_settings(config)
    tables = _tables(settings)
    names = ", ".join(table.fullname for table in tables)
    if not yes:
        typer.confirm(f"Drop {names or 'no tables'} and all their rows?", abort=True)
    with _database(settings) as engine:
        dropped = drop_tables(engine, tables)
    console().print(f"Dropped {', '.join(dropped)}." if dropped else "There were no tables to drop.")


def _tables(settings: Settings) -> list[Table]:
    queues = settings.select([])
    return [*tables_of(load_handlers(queues)), *ledger_tables(queues)]


@contextmanager
def _database(settings: Settings) -> Iterator[Engine]:
    engine = open_database(settings.database)
    try:
        yield engine
    finally:
        engine.dispose()
