"""Creates, migrates, drops and checks the tables and views of all handlers."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.exc import DBAPIError

from streamfea.database.exactly_once.ledger import ledger_tables
from streamfea.database.schema.migrations import Migrations
from streamfea.database.schema.tables import (
    create_tables,
    drop_tables,
    lock_schema,
    missing_columns,
    missing_tables,
    tables_there,
)
from streamfea.database.schema.views import create_views, drop_views, grant, grants_of, outdated_views
from streamfea.errors import ConfigurationError
from streamfea.handlers.loading import Handler
from streamfea.handlers.schemas import HandlerSchema, schemas_of

__all__ = ["OWN_TABLES", "Changes", "all_schemas", "amiss", "create_all", "drop_all", "migrate_all", "recreate"]

# What streamfea keeps for itself.
OWN_TABLES = "streamfea"

# PostgreSQL manual, "PostgreSQL Error Codes": what a migration changes has a view in its way.
_IN_THE_WAY = {"2BP01", "0A000"}
# A migration changes what no migration has made: a table, a column, another object.
_NOT_THERE = {"42P01", "42703", "42704"}


@dataclass(slots=True)
class Changes:
    """The changes of a command: tables and views created, revisions applied, handlers left for migratedb.

    `stamped` are handlers whose tables are as the models say, without a migration having been run.
    """

    created: list[str] = field(default_factory=list)
    migrated: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    stamped: list[str] = field(default_factory=list)


def all_schemas(handlers: Sequence[Handler]) -> list[HandlerSchema]:
    """Return the tables and views of `handlers`, and streamfea's own tables for their queues."""
    own = ledger_tables(handler.queue for handler in handlers)
    return [*schemas_of(handlers), *([HandlerSchema(OWN_TABLES, own, [], None)] if own else [])]


def create_all(engine: Engine, schemas: Sequence[HandlerSchema]) -> Changes:
    """Create the tables and views that are missing, in one transaction.

    A handler none of whose tables is there gets them by its migrations, whose own SQL is run, and by its models, if it
    has none or they begin with tables that they do not create. One that has pending migrations is left alone: they may
    be about to create what is missing.
    """
    migrations = Migrations(schemas)
    changes = Changes()
    with engine.begin() as connection:
        lock_schema(connection)
        _create(connection, schemas, migrations, changes)
        if not changes.waiting:
            changes.created += create_views(connection, _views(schemas))
    return changes


def migrate_all(engine: Engine, schemas: Sequence[HandlerSchema]) -> Changes:
    """Bring everything to the newest state, in one transaction: all of it, or none.

    Views that are in a migration's way, or whose queries have changed, are created anew with their former grants.
    """
    migrations = Migrations(schemas)
    changes = Changes()
    views = _views(schemas)
    with engine.begin() as connection:
        lock_schema(connection)
        grants = grants_of(connection, views)
        _create(connection, schemas, migrations, changes)
        _upgrade(connection, schemas, migrations, changes)
        for schema in schemas:
            changes.created += create_tables(connection, schema.tables)
        drop_views(connection, outdated_views(connection, views))
        created = create_views(connection, views)
        grant(connection, grants, created)
        changes.created += created
        changes.waiting.clear()
    return changes


def drop_all(engine: Engine, schemas: Sequence[HandlerSchema]) -> list[str]:
    """Drop views, tables, enum types and the records of migrations in one transaction; return the names."""
    migrations = Migrations(schemas)
    with engine.begin() as connection:
        lock_schema(connection)
        dropped = drop_views(connection, _views(schemas))
        dropped += drop_tables(connection, _tables(schemas))
        for schema in schemas:
            migrations.forget(connection, schema)
    return dropped


def recreate(connection: Connection, schema: HandlerSchema, dependents: Sequence[Table]) -> None:
    """Drop and create the tables and views of `schema`, and `dependents`: other handlers' views, made anew, too."""
    views = [*schema.views, *(view for view in dependents if view not in schema.views)]
    lock_schema(connection)
    grants = grants_of(connection, views)
    drop_views(connection, views)
    drop_tables(connection, schema.tables)
    migrations = Migrations([schema])
    migrations.forget(connection, schema)
    _make(connection, schema, migrations, Changes())
    grant(connection, grants, create_views(connection, views))


def amiss(connection: Connection, schemas: Sequence[HandlerSchema]) -> ConfigurationError | None:
    """Return the error that says what the tables lack, and the command that helps; None when all is well."""
    migrations = Migrations(schemas)
    pending = [schema.name for schema in schemas if _waits(connection, schema, migrations)]
    if pending:
        return ConfigurationError(f"migrations of {', '.join(pending)} are pending", remedy="run `streamfea migratedb`")
    missing = missing_tables(connection, _tables(schemas))
    if missing:
        what = "table" if len(missing) == 1 else "tables"
        return ConfigurationError(
            f"the database lacks {what} {', '.join(missing)}",
            remedy="run `streamfea initdb`, or consume with --create-tables",
        )
    columns = missing_columns(connection, _tables(schemas))
    if columns:
        return ConfigurationError(
            f"the database lacks {'column' if len(columns) == 1 else 'columns'} {', '.join(columns)}",
            remedy="write a migration with `streamfea make-migration QUEUE -m TEXT` and run `streamfea migratedb`",
        )
    return None


def _create(connection: Connection, schemas: Sequence[HandlerSchema], migrations: Migrations, changes: Changes) -> None:
    fresh = {schema.name for schema in schemas if _is_fresh(connection, schema, migrations)}
    changes.waiting = [
        schema.name for schema in schemas if schema.name not in fresh and migrations.pending(connection, schema)
    ]
    for schema in schemas:
        if schema.name in fresh:
            _make(connection, schema, migrations, changes)
        elif schema.name not in changes.waiting:
            changes.created += create_tables(connection, schema.tables)


def _make(connection: Connection, schema: HandlerSchema, migrations: Migrations, changes: Changes) -> None:
    """Create the tables of a handler that has none yet: by its migrations if they are whole, then by its models."""
    pending = migrations.pending(connection, schema)
    try:
        with connection.begin_nested():
            migrations.upgrade(connection, schema)
        changes.migrated += pending
    except DBAPIError as error:
        if _sqlstate(error) not in _NOT_THERE:
            raise
        migrations.stamp(connection, schema)
        changes.stamped.append(schema.name)
    changes.created += create_tables(connection, schema.tables)


def _upgrade(
    connection: Connection, schemas: Sequence[HandlerSchema], migrations: Migrations, changes: Changes
) -> None:
    """Apply pending migrations with the views in place, or without them if one is in the way."""
    pending = [revision for schema in schemas for revision in migrations.pending(connection, schema)]
    changes.migrated += pending
    try:
        with connection.begin_nested():
            migrations.upgrade(connection)
    except DBAPIError as error:
        views = _views(schemas)
        if _sqlstate(error) not in _IN_THE_WAY or not views:
            raise
        drop_views(connection, views)
        migrations.upgrade(connection)


def _sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _is_fresh(connection: Connection, schema: HandlerSchema, migrations: Migrations) -> bool:
    return not tables_there(connection, schema.tables) and not migrations.recorded(connection, schema)


def _waits(connection: Connection, schema: HandlerSchema, migrations: Migrations) -> bool:
    return not _is_fresh(connection, schema, migrations) and bool(migrations.pending(connection, schema))


def _tables(schemas: Sequence[HandlerSchema]) -> list[Table]:
    return list(dict.fromkeys(table for schema in schemas for table in schema.tables))


def _views(schemas: Sequence[HandlerSchema]) -> list[Table]:
    return list(dict.fromkeys(view for schema in schemas for view in schema.views))
