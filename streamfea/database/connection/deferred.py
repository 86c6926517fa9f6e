"""Checks deferred constraints at the end of each record, as a COMMIT of its own would.

In a transaction of many records, COMMIT comes after all of them. Until then a later record may have made good what an
earlier one has violated.
"""

from sqlalchemy import Connection, text

__all__ = ["DeferredConstraints"]

_ALL = text(
    "SELECT format('%I.%I', nspname, conname) FROM pg_constraint JOIN pg_namespace n ON n.oid = connamespace "
    "WHERE condeferred AND has_schema_privilege(n.oid, 'USAGE')"
)


class DeferredConstraints:
    """The initially deferred constraints of a database; looked up once."""

    def __init__(self) -> None:
        self._names: list[str] | None = None

    def check(self, connection: Connection) -> None:
        """Check the deferred constraints now; raises `IntegrityError` as COMMIT would."""
        check_constraints(connection, self._known(connection))

    def has_any(self, connection: Connection) -> bool:
        """Tell whether there are any."""
        return bool(self._known(connection))

    def _known(self, connection: Connection) -> list[str]:
        if self._names is None:
            self._names = list(connection.scalars(_ALL))
        return self._names

    def forget(self) -> None:
        """Look them up anew: a table may have been altered."""
        self._names = None


def check_constraints(connection: Connection, names: list[str]) -> None:
    """Check constraints now that are deferred, and defer them again."""
    if names:
        listed = ", ".join(names).replace("%", "%%")
        connection.exec_driver_sql(f"SET CONSTRAINTS {listed} IMMEDIATE; SET CONSTRAINTS {listed} DEFERRED")
