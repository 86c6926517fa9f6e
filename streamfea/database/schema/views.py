"""Materialised views in the database: create them, drop them, see which are no longer what their models say.

Dropping a view takes everybody's rights to it away, and fails when somebody has made another from it. So one that is as
its model says is left alone, and one that is created anew keeps its grants.
"""

import hashlib
from collections.abc import Sequence
from itertools import chain

from sqlalchemy import Connection, CreateView, MetaData, Table, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex

from streamfea.database.schema.tables import quoted
from streamfea.model import create_view

__all__ = ["create_views", "drop_views", "grant", "grants_of", "outdated_views"]

_MARK = "made by streamfea, "
_GRANTS = text(
    "SELECT format('GRANT %s ON %s TO %s%s', privilege_type, oid::regclass, "
    "CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, "
    "CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) "
    "FROM pg_class, aclexplode(relacl) WHERE oid = to_regclass(:name) AND grantee <> relowner"
)
_DEFINITIONS = text(
    "SELECT pg_get_viewdef(to_regclass(:name)) = pg_get_viewdef('pg_temp.streamfea_as_declared'::regclass)"
)
_DEPENDENTS = text(
    "SELECT DISTINCT r.ev_class FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid "
    "WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = to_regclass(:name) AND r.ev_class <> d.refobjid"
)


def create_views(connection: Connection, views: Sequence[Table]) -> list[str]:
    """Create those of `views` that are missing, filled, with their indexes; return their names."""
    created = []
    for view in views:
        if _comment(connection, view) is None:
            connection.execute(create_view(view))
            for index in view.indexes:
                connection.execute(CreateIndex(index))
            mark = f"COMMENT ON MATERIALIZED VIEW {quoted(connection, view)} IS '{_fingerprint(view)}'"
            connection.execute(text(mark))
            created.append(view.fullname)
    return created


def drop_views(connection: Connection, views: Sequence[Table]) -> list[str]:
    """Drop those of `views` that are there; return their names."""
    there = [view for view in views if _comment(connection, view) is not None]
    if there:
        names = ", ".join(quoted(connection, view) for view in there)
        connection.execute(text(f"DROP MATERIALIZED VIEW {names}"))
    return [view.fullname for view in there]


def outdated_views(connection: Connection, views: Sequence[Table]) -> list[Table]:
    """Return those of `views` that were created from another query, and those that are made from these.

    One that streamfea did not make, but Azafea or a migration, is compared as PostgreSQL itself writes its query down.
    """
    outdated = {view for view in views if _is_outdated(connection, view)}
    oids = {view: _oid(connection, view) for view in views}
    waiting = list(outdated)
    while waiting:
        above = set(connection.scalars(_DEPENDENTS, {"name": quoted(connection, waiting.pop())}))
        new = {view for view, oid in oids.items() if oid in above} - outdated
        outdated |= new
        waiting += new
    return [view for view in views if view in outdated]


def grants_of(connection: Connection, views: Sequence[Table]) -> dict[str, list[str]]:
    """Return the statements that repeat the grants on each of `views`."""
    return {view.fullname: list(connection.scalars(_GRANTS, {"name": quoted(connection, view)})) for view in views}


def grant(connection: Connection, grants: dict[str, list[str]], created: Sequence[str]) -> None:
    """Repeat the former grants on views that have been created anew."""
    for statement in chain.from_iterable(grants.get(name, ()) for name in created):
        connection.execute(text(statement.replace(":", "\\:")))


def _is_outdated(connection: Connection, view: Table) -> bool:
    comment = _comment(connection, view)
    if comment is None:
        return False
    if comment.startswith(_MARK):
        return comment != _fingerprint(view)
    declared = CreateView(create_view(view).selectable, "streamfea_as_declared", metadata=MetaData(), temporary=True)
    savepoint = connection.begin_nested()
    try:
        connection.execute(declared)
        return not connection.scalar(_DEFINITIONS, {"name": quoted(connection, view)})
    except DBAPIError:  # its query asks for what is not there
        return True
    finally:
        savepoint.rollback()


def _oid(connection: Connection, view: Table) -> int | None:
    found: int | None = connection.scalar(text("SELECT to_regclass(:n)::oid"), {"n": quoted(connection, view)})
    return found


def _comment(connection: Connection, view: Table) -> str | None:
    """Return the comment of the materialised view, which holds its fingerprint; None when there is no such view."""
    query = text(
        "SELECT coalesce(obj_description(oid), '') FROM pg_class WHERE oid = to_regclass(:n) AND relkind = 'm'"
    )
    found: str | None = connection.execute(query, {"n": quoted(connection, view)}).scalar_one_or_none()
    return found


def _fingerprint(view: Table) -> str:
    """Return a digest of the query and the indexes that `view` is made of, the same in every process."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves the dialects untyped
    statements = [create_view(view), *sorted((CreateIndex(index) for index in view.indexes), key=str)]
    made_of = "\n".join(str(statement.compile(dialect=dialect)) for statement in statements)
    return f"{_MARK}{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"
