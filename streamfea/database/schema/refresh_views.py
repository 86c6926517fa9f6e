"""Refreshing materialised views."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, Table, text
from sqlalchemy.exc import SQLAlchemyError

__all__ = ["Refreshed", "refresh_views"]

# What REFRESH … CONCURRENTLY asks for: PostgreSQL manual, REFRESH MATERIALIZED VIEW.
_CONCURRENTLY = text(
    "SELECT relispopulated AND EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisunique "
    "AND indisvalid AND indpred IS NULL AND indexprs IS NULL) FROM pg_class WHERE oid = to_regclass(:name)"
)


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The result for one view: refreshed, with or without locking out readers, or the error."""

    view: str
    concurrently: bool
    error: str | None = None


def refresh_views(engine: Engine, views: Sequence[Table]) -> Iterator[Refreshed]:
    """Refresh `views`, each in a transaction of its own, so that one that fails keeps no other from it."""
    for view in views:
        try:
            with engine.begin() as connection:
                yield Refreshed(view.fullname, _refresh(connection, view))
        except SQLAlchemyError as error:
            yield Refreshed(view.fullname, False, _reason(error))


def _refresh(connection: Connection, view: Table) -> bool:
    name = connection.dialect.identifier_preparer.format_table(view)
    concurrently = bool(connection.execute(_CONCURRENTLY, {"name": name}).scalar_one_or_none())
    connection.execute(text(f"REFRESH MATERIALIZED VIEW {'CONCURRENTLY ' if concurrently else ''}{name}"))
    return concurrently


def _reason(error: SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
