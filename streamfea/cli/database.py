"""The handlers' tables: `initdb`, `dropdb`, `make-migration`, `migratedb`, `refresh-views`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Engine

from streamfea.cli.common import ConfigOption, DebugOption, console, queue_argument, read_settings
from streamfea.config.settings import Settings
from streamfea.database.connection.engine import open_database
from streamfea.database.schema.migrations import Migrations
from streamfea.database.schema.refresh_views import refresh_views
from streamfea.database.schema.setup import Changes, all_schemas, create_all, drop_all, migrate_all
from streamfea.handlers.loading import load_handler, load_handlers
from streamfea.handlers.schemas import HandlerSchema, schema_of

__all__ = ["open_engine"]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command(rich_help_panel="Database")(initdb)
    app.command(rich_help_panel="Database")(dropdb)
    app.command("make-migration", rich_help_panel="Database")(make_migration)
    app.command(rich_help_panel="Database")(migratedb)
    app.command("refresh-views", rich_help_panel="Database")(refresh_all_views)


def initdb(config: ConfigOption = None, _debug: DebugOption = False) -> None:
    """Create the tables and views of all configured handlers that are missing.

    Example: streamfea initdb
    """
    settings = read_settings(config)
    schemas = _schemas(settings)
    with open_engine(settings) as engine:
        changes = create_all(engine, schemas)
    there = sum(len(schema.tables) + len(schema.views) for schema in schemas) - len(changes.created)
    also = f"; {there} there already" if there > 0 and not changes.migrated else ""
    if changes.waiting:
        console().print(f"Migrations of {', '.join(changes.waiting)} are pending: run `streamfea migratedb`.")
    elif not changes.created and not changes.migrated:
        console().print("All tables are there already.")
    _tell_of_migrations(changes)
    if changes.created:
        console().print(f"Created {', '.join(changes.created)}{also}.")


def dropdb(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Drop the tables and views of all configured handlers, and every row in them. Asks first.

    Example: streamfea dropdb --yes
    """
    settings = read_settings(config)
    schemas = _schemas(settings)
    names = ", ".join(dict.fromkeys(table.fullname for schema in schemas for table in [*schema.tables, *schema.views]))
    if not yes:
        typer.confirm(f"Drop {names or 'no tables'} and all their rows?", abort=True)
    with open_engine(settings) as engine:
        dropped = drop_all(engine, schemas)
    console().print(f"Dropped {', '.join(dropped)}." if dropped else "There were no tables to drop.")


def make_migration(
    queue: Annotated[str, queue_argument("The queue whose handler's models have changed.")],
    message: Annotated[
        str, typer.Option("--message", "-m", "--description", "-d", help="What changes, in a few words.")
    ],
    empty: Annotated[
        bool, typer.Option("--empty", help="Compare nothing: an empty migration, for SQL of your own.")
    ] = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Write a migration from the tables in the database to the models of a queue's handler.

    Example: streamfea make-migration events -m "add the city"
    """
    settings = read_settings(config)
    [chosen] = settings.select([queue])
    schemas = _schemas(settings)
    schema = schema_of(load_handler(chosen))
    with open_engine(settings) as engine, engine.connect() as connection:
        file = Migrations(schemas).make(connection, schema, message, empty=empty)
    if file is None:
        console().print(f"The tables are as the models of {schema.name} say: nothing to migrate.")
    else:
        console().print(f"Wrote {_relative(file)}: read it, then run `streamfea migratedb`.", soft_wrap=True)


def migratedb(config: ConfigOption = None, _debug: DebugOption = False) -> None:
    """Apply the pending migrations of all configured handlers, all of them or none.

    Example: streamfea migratedb
    """
    settings = read_settings(config)
    schemas = _schemas(settings)
    with open_engine(settings) as engine:
        changes = migrate_all(engine, schemas)
    _tell_of_migrations(changes)
    if changes.created:
        console().print(f"Created {', '.join(changes.created)}.")
    if not changes.migrated and not changes.created:
        console().print("Nothing to migrate.")


def refresh_all_views(config: ConfigOption = None, _debug: DebugOption = False) -> None:
    """Bring the materialised views of all configured handlers up to date; exit 1 when one fails.

    Example: streamfea refresh-views
    """
    settings = read_settings(config)
    views = list(dict.fromkeys(view for schema in _schemas(settings) for view in schema.views))
    failed = False
    with open_engine(settings) as engine:
        for refresh in refresh_views(engine, views):
            failed = failed or refresh.error is not None
            how = " while it could be read" if refresh.concurrently else ""
            told = (
                f"Refreshed {refresh.view}{how}."
                if refresh.error is None
                else f"{refresh.view} failed: {refresh.error}"
            )
            console().print(told, markup=False)
    if not views:
        console().print("The handlers have no views.")
    if failed:
        raise typer.Exit(1)


def _tell_of_migrations(changes: Changes) -> None:
    if changes.migrated:
        console().print(f"Applied {', '.join(changes.migrated)}.")
    for name in changes.stamped:
        console().print(
            f"The migrations of {name} begin with tables that they do not create, so none was run: "
            "the tables are as the models say.",
            soft_wrap=True,
        )


@contextmanager
def open_engine(settings: Settings) -> Iterator[Engine]:
    """Open the configured PostgreSQL."""
    engine = open_database(settings.database)
    try:
        yield engine
    finally:
        engine.dispose()


def _schemas(settings: Settings) -> list[HandlerSchema]:
    return all_schemas(load_handlers(settings.select([])))


def _relative(file: Path) -> str:
    return os.path.relpath(file) if file.is_relative_to(Path.cwd()) else str(file)
