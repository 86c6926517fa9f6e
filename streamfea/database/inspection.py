"""Is this PostgreSQL ready for the handlers' rows: the PostgreSQL side of `streamfea check`."""

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, Engine, Table, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from streamfea.database.schema import missing_tables
from streamfea.database.setup import amiss
from streamfea.errors import StreamfeaError
from streamfea.finding import Finding
from streamfea.schemas import HandlerSchema

__all__ = ["inspect_database"]

_OLDEST_VERSION = 12


def inspect_database(engine: Engine, schemas: Sequence[HandlerSchema]) -> Iterator[Finding]:
    """Yield what there is to say about the server and the tables; changes nothing."""
    tables = list(dict.fromkeys(table for schema in schemas for table in schema.tables))
    try:
        with engine.connect() as connection:
            yield _version(connection)
            yield _writable(connection)
            yield _durable(connection)
        with engine.connect() as connection:
            yield _tables(connection, schemas, tables)
            missing = missing_tables(connection, tables)
            yield _privileges(connection, [table for table in tables if table.fullname not in missing])
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        reason = str(cause).strip().splitlines()[0]
        yield Finding("database", "problem", reason, "start it, or correct database.url and its password")


def _version(connection: Connection) -> Finding:
    version = str(connection.execute(text("SHOW server_version")).scalar_one())
    if int(version.partition(".")[0]) < _OLDEST_VERSION:
        return Finding(
            "database",
            "problem",
            f"PostgreSQL {version}",
            f"upgrade to PostgreSQL {_OLDEST_VERSION} or later",
        )
    return Finding("database", "ok", f"PostgreSQL {version}")


def _writable(connection: Connection) -> Finding:
    if connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on":
        return Finding(
            "database writes",
            "problem",
            "read-only: a standby, or set so",
            "point database.url at the primary",
        )
    return Finding("database writes", "ok", "accepted")


def _durable(connection: Connection) -> Finding:
    off = [
        name
        for name in ("fsync", "synchronous_commit")
        if connection.execute(text(f"SHOW {name}")).scalar_one() == "off"
    ]
    if off:
        remedy = f"set {off[0]} = on: an acknowledged record's row must survive a crash"
        return Finding("database durability", "problem", f"{' and '.join(off)} off", remedy)
    return Finding("database durability", "ok", "fsync and synchronous_commit on")


def _tables(connection: Connection, schemas: Sequence[HandlerSchema], tables: Sequence[Table]) -> Finding:
    try:
        problem = amiss(connection, schemas)
    except StreamfeaError as error:
        return Finding("tables", "problem", str(error), "correct the migrations")
    if problem:
        detail, _, remedy = problem.partition(": ")
        return Finding("tables", "problem", detail, remedy.partition(", or")[0])
    return Finding("tables", "ok", ", ".join(table.fullname for table in tables) or "the handlers declare none")


def _privileges(connection: Connection, tables: Sequence[Table]) -> Finding:
    quote = inspect(connection).dialect.identifier_preparer.format_table
    query = text("SELECT has_table_privilege(:table, 'INSERT')")
    denied = [table.fullname for table in tables if not connection.execute(query, {"table": quote(table)}).scalar_one()]
    if denied:
        return Finding(
            "table privileges", "problem", f"may not insert into {', '.join(denied)}", "GRANT INSERT on them"
        )
    return Finding("table privileges", "ok", "INSERT on all tables that are there")
