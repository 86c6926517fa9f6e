"""The handlers' tables: `initdb`, `dropdb`, `make-migration`, `migratedb`, `refresh-views`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from streamfea.admin.servers import open_engine
from streamfea.admin.tables import Tables
from streamfea.cli.common import ConfigOption, DebugOption, console, queue_argument, read_settings
from streamfea.database.schema.refresh_views import Refreshed
from streamfea.database.schema.setup import Changes


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
    tables = Tables.of(settings)
    with open_engine(settings) as engine:
        changes = tables.create(engine)
    there = len(tables.names) - len(changes.created)
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
    tables = Tables.of(settings)
    if not yes:
        typer.confirm(f"Drop {', '.join(tables.names) or 'no tables'} and all their rows?", abort=True)
    with open_engine(settings) as engine:
        dropped = tables.drop(engine)
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
    tables = Tables.of(settings)
    with open_engine(settings) as engine:
        file = tables.make_migration(engine, chosen, message, empty=empty)
    if file is None:
        console().print(f"The tables are as the models of {chosen.handler} say: nothing to migrate.")
    else:
        console().print(f"Wrote {_relative(file)}: read it, then run `streamfea migratedb`.", soft_wrap=True)


def migratedb(config: ConfigOption = None, _debug: DebugOption = False) -> None:
    """Apply the pending migrations of all configured handlers, all of them or none.

    Example: streamfea migratedb
    """
    settings = read_settings(config)
    tables = Tables.of(settings)
    with open_engine(settings) as engine:
        changes = tables.migrate(engine)
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
    tables = Tables.of(settings)
    failed = False
    with open_engine(settings) as engine:
        for refresh in tables.refresh_views(engine):
            failed = failed or refresh.error is not None
            how = " while it could be read" if refresh.concurrently else ""
            told = (
                f"Refreshed {refresh.view}{how}."
                if refresh.error is None
                else f"{refresh.view} failed: {refresh.error}"
            )
            console().print(told, markup=False)
    if not tables.views:
        console().print("The handlers have no views.")
    if failed:
        raise typer.Exit(1)


def _told(refresh: Refreshed) -> str:
    if refresh.error is not None:
        return f"{refresh.view} failed: {refresh.error}"
    return f"Refreshed {refresh.view}{' while it could be read' if refresh.concurrently else ''}."


def _tell_of_migrations(changes: Changes) -> None:
    if changes.migrated:
        console().print(f"Applied {', '.join(changes.migrated)}.")
    for name in changes.stamped:
        console().print(
            f"The migrations of {name} begin with tables that they do not create, so none was run: "
            "the tables are as the models say.",
            soft_wrap=True,
        )


def _relative(file: Path) -> str:
    return os.path.relpath(file) if file.is_relative_to(Path.cwd()) else str(file)
