"""The INSERT that a flush would send for rows of the same columns, where COPY is not wanted."""

from collections.abc import Sequence

from sqlalchemy import Dialect, Table

__all__ = ["insert_of"]


def insert_of(table: Table, columns: Sequence[str], dialect: Dialect) -> tuple[str, tuple[str, ...]]:
    """Return an INSERT of these columns, which the server may give the others, and the names of its parameters."""
    keys = [column.key for column in table.columns if column.name in columns]
    compiled = table.insert().inline().compile(dialect=dialect, column_keys=keys)
    escaped = compiled.escaped_bind_names
    return str(compiled), tuple(escaped.get(key, key) for key in keys)
