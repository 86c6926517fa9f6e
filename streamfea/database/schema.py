"""The tables of the handlers' models: create them, drop them, see which are missing."""

from collections.abc import Sequence

from sqlalchemy import Connection, Engine, Table, inspect, text

__all__ = ["create_tables", "drop_tables", "missing_tables"]

# Any number, the same in every streamfea: PostgreSQL manual, "Advisory Lock Functions".
_ADVISORY_LOCK = 7_359_231_870


def create_tables(engine: Engine, tables: Sequence[Table]) -> list[str]:
    """Create those of `tables` that are missing, in one transaction; return their names."""
    with engine.begin() as connection:
        _one_at_a_time(connection)
        missing = _missing(connection, tables)
        for table in missing:
            table.create(connection)
    return _names(missing)


def drop_tables(engine: Engine, tables: Sequence[Table]) -> list[str]:
    """Drop those of `tables` that are there, and all rows in them, in one transaction; return their names."""
    with engine.begin() as connection:
        _one_at_a_time(connection)
        missing = _names(_missing(connection, tables))
        there = [table for table in tables if table.fullname not in missing]
        for table in reversed(there):
            table.drop(connection)
    return _names(there)


def missing_tables(engine: Engine, tables: Sequence[Table]) -> list[str]:
    """Return the names of those of `tables` that the database does not have."""
    with engine.connect() as connection:
        return _names(_missing(connection, tables))


def _missing(connection: Connection, tables: Sequence[Table]) -> list[Table]:
    inspector = inspect(connection)
    return [table for table in tables if not inspector.has_table(table.name, schema=table.schema)]


def _one_at_a_time(connection: Connection) -> None:
    """Two commands that create the same table at the same time would otherwise get in each other's way."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})


def _names(tables: Sequence[Table]) -> list[str]:
    return [table.fullname for table in tables]
