"""Tables and enum types in the database: create them, drop them, see which are missing.

What takes an `Engine` is a transaction of its own; what takes a `Connection` is part of its caller's.
"""

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection, Enum, Inspector, MetaData, Table, TypeDecorator, inspect, text
from sqlalchemy.dialects import postgresql

__all__ = [
    "create_tables", "drop_tables", "enum_of", "lock_schema", "missing_columns", "missing_tables", "quoted",
    "tables_there",
]  # fmt: skip

# Any number, the same in every streamfea: PostgreSQL manual, "Advisory Lock Functions".
_ADVISORY_LOCK = 7_359_231_870


def lock_schema(connection: Connection) -> None:
    """Wait until no other command changes tables; until the transaction ends, no other one will.

    Two that create or migrate the same table at the same time would otherwise get in each other's way.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})


def tables_there(connection: Connection, tables: Sequence[Table]) -> list[Table]:
    """Return those of `tables` that the database has."""
    inspector = inspect(connection)
    return [table for table in tables if inspector.has_table(table.name, schema=table.schema)]


def missing_tables(connection: Connection, tables: Sequence[Table]) -> list[str]:
    """Return the names of those of `tables` that the database does not have."""
    there = tables_there(connection, tables)
    return [table.fullname for table in tables if table not in there]


def missing_columns(connection: Connection, tables: Sequence[Table]) -> list[str]:
    """Return, as `table.column`, the columns of models that existing tables lack."""
    inspector = inspect(connection)
    there = tables_there(connection, tables)
    return [name for schema in {table.schema for table in there} for name in _lacking(inspector, schema, there)]


def create_tables(connection: Connection, tables: Sequence[Table]) -> list[str]:
    """Create those of `tables` that are missing, and the types that they need; return their names."""
    there = tables_there(connection, tables)
    missing = [table for table in tables if table not in there]
    if missing:
        _metadata(missing).create_all(connection, tables=missing)
    return [table.fullname for table in missing]


def drop_tables(connection: Connection, tables: Sequence[Table]) -> list[str]:
    """Drop those of `tables` that are there, all rows in them, and enum types that nothing needs any more.

    Returns the names of the tables. Raises what PostgreSQL says when something else depends on them.
    """
    there = tables_there(connection, tables)
    if there:
        names = ", ".join(quoted(connection, table) for table in there)
        connection.execute(text(f"DROP TABLE {names}"))
    for enum in {enum.name: enum for table in tables for enum in _enums(table)}.values():
        _drop_unused(connection, enum)
    return [table.fullname for table in there]


def enum_of(type_: object) -> postgresql.ENUM | None:
    """Return the enum type of PostgreSQL that a column's type is kept in; None for any other."""
    inner = type_.impl_instance if isinstance(type_, TypeDecorator) else type_
    if isinstance(inner, Enum) and inner.native_enum and inner.name:
        return postgresql.ENUM(*inner.enums, name=inner.name, schema=inner.schema, create_type=False)
    return None


def _lacking(inspector: Inspector, schema: str | None, tables: Iterable[Table]) -> Iterator[str]:
    chosen = {table.name: table for table in tables if table.schema == schema}
    for (_, name), columns in inspector.get_multi_columns(schema=schema, filter_names=list(chosen)).items():
        there = {column["name"] for column in columns}
        yield from (f"{name}.{column.name}" for column in chosen[name].columns if column.name not in there)


def _enums(table: Table) -> Iterator[postgresql.ENUM]:
    for column in table.columns:
        enum = enum_of(column.type)
        if enum is not None:
            yield enum


def _drop_unused(connection: Connection, enum: postgresql.ENUM) -> None:
    name = _in_schema(connection, enum.name or "", enum.schema)
    used = text(
        "SELECT count(*) FROM pg_attribute WHERE NOT attisdropped AND atttypid IN "
        "(SELECT unnest(ARRAY[oid, typarray]) FROM pg_type WHERE oid = to_regtype(:name))"
    )
    if connection.execute(used, {"name": name}).scalar_one() == 0:
        connection.execute(text(f"DROP TYPE IF EXISTS {name}"))


def quoted(connection: Connection, table: Table) -> str:
    """Return the name of a table or a view as SQL has it."""
    return connection.dialect.identifier_preparer.format_table(table)


def _in_schema(connection: Connection, name: str, schema: str | None) -> str:
    quote = connection.dialect.identifier_preparer.quote
    return f"{quote(schema)}.{quote(name)}" if schema else quote(name)


def _metadata(tables: Sequence[Table]) -> MetaData:
    return tables[0].metadata if tables else MetaData()
