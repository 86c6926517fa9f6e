"""The PostgreSQL side of `streamfea check`."""

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, Engine, Table, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from streamfea.core.check_result import CheckResult
from streamfea.database.schema.setup import amiss
from streamfea.database.schema.tables import missing_tables
from streamfea.errors import StreamfeaError
from streamfea.handlers.schemas import HandlerSchema

__all__ = ["inspect_database"]

_OLDEST_VERSION = 12
_VERSIONS = "alembic_version"

# What the exactly-once ledger's tables need; all others are only read and filled.
_NEEDED = {
    "streamfea_ledger": ("SELECT", "INSERT", "DELETE"),
    "streamfea_ledger_horizon": ("SELECT", "INSERT", "UPDATE"),
}
_FORBIDDEN_SEQUENCES = text("""
    SELECT DISTINCT sequence.oid::regclass::text
    FROM pg_attrdef AS standard
    JOIN pg_depend ON classid = 'pg_attrdef'::regclass AND objid = standard.oid AND refclassid = 'pg_class'::regclass
    JOIN pg_class AS sequence ON sequence.oid = refobjid AND relkind = 'S'
    WHERE adrelid = CAST(:table AS regclass)
    AND CASE WHEN relkind = 'S' THEN NOT has_sequence_privilege(sequence.oid, 'USAGE, UPDATE') END
""")


def inspect_database(engine: Engine, schemas: Sequence[HandlerSchema]) -> Iterator[CheckResult]:
    """Yield the results of checking the server and the tables. Changes nothing."""
    tables = list(dict.fromkeys(table for schema in schemas for table in schema.tables))
    try:
        with engine.connect() as connection:
            yield _version(connection)
            yield _writable(connection)
            yield _durable(connection)
        with engine.connect() as connection:
            yield _tables(connection, schemas, tables)
            missing = missing_tables(connection, tables)
            yield _privileges(connection, schemas, [table for table in tables if table.fullname not in missing])
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        reason = str(cause).strip().splitlines()[0]
        yield CheckResult("database", "problem", reason, "start it, or correct database.url and its password")


def _version(connection: Connection) -> CheckResult:
    version = str(connection.execute(text("SHOW server_version")).scalar_one())
    if int(version.partition(".")[0]) < _OLDEST_VERSION:
        return CheckResult(
            "database",
            "problem",
            f"PostgreSQL {version}",
            f"upgrade to PostgreSQL {_OLDEST_VERSION} or later",
        )
    return CheckResult("database", "ok", f"PostgreSQL {version}")


def _writable(connection: Connection) -> CheckResult:
    if connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on":
        return CheckResult(
            "database writes",
            "problem",
            "read-only: a standby, or set so",
            "point database.url at the primary",
        )
    return CheckResult("database writes", "ok", "accepted")


def _durable(connection: Connection) -> CheckResult:
    off = [
        name
        for name in ("fsync", "synchronous_commit")
        if connection.execute(text(f"SHOW {name}")).scalar_one() == "off"
    ]
    if off:
        remedy = f"set {off[0]} = on: an acknowledged record's row must survive a crash"
        return CheckResult("database durability", "problem", f"{' and '.join(off)} off", remedy)
    return CheckResult("database durability", "ok", "fsync and synchronous_commit on")


def _tables(connection: Connection, schemas: Sequence[HandlerSchema], tables: Sequence[Table]) -> CheckResult:
    try:
        problem = amiss(connection, schemas)
    except StreamfeaError as error:
        return CheckResult("tables", "problem", error.message, error.remedy or "correct the migrations")
    if problem:
        return CheckResult("tables", "problem", problem.message, problem.remedy)
    return CheckResult("tables", "ok", ", ".join(table.fullname for table in tables) or "the handlers declare none")


def _privileges(connection: Connection, schemas: Sequence[HandlerSchema], tables: Sequence[Table]) -> CheckResult:
    """Look for all that docs/security.md says workers need."""
    wanted = [(table, name) for table in tables for name in _NEEDED.get(table.fullname, ("SELECT", "INSERT"))]
    denied = [f"{name} ON {table.fullname}" for table, name in wanted if not _may(connection, table, name)]
    denied += [f"USAGE ON SEQUENCE {name}" for table in tables for name in _forbidden_sequences(connection, table)]
    if any(schema.migrations for schema in schemas) and not _may_read_versions(connection):
        denied.append(f"SELECT ON {_VERSIONS}")
    if denied:
        role = connection.execute(text("SELECT current_user")).scalar_one()
        grants = "; ".join(f"GRANT {privilege} TO {role}" for privilege in denied)
        return CheckResult("table privileges", "problem", f"{role} lacks {', '.join(denied)}", f"{grants};")
    return CheckResult("table privileges", "ok", "SELECT and INSERT on all tables that are there, and their sequences")


def _may(connection: Connection, table: Table, privilege: str) -> bool:
    name = inspect(connection).dialect.identifier_preparer.format_table(table)
    query = text("SELECT has_table_privilege(:table, :privilege)")
    return bool(connection.execute(query, {"table": name, "privilege": privilege}).scalar_one())


def _may_read_versions(connection: Connection) -> bool:
    query = text("SELECT to_regclass(:table) IS NULL OR has_table_privilege(to_regclass(:table), 'SELECT')")
    return bool(connection.execute(query, {"table": _VERSIONS}).scalar_one())


def _forbidden_sequences(connection: Connection, table: Table) -> list[str]:
    """Return the sequences that defaults of a table's columns count with, as far as they may not be used.

    An identity's sequence needs no privilege of its own.
    """
    name = inspect(connection).dialect.identifier_preparer.format_table(table)
    return list(connection.scalars(_FORBIDDEN_SEQUENCES, {"table": name}))
