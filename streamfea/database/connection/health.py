"""Checks the health of PostgreSQL, to decide whether an error is the record's fault.

Somebody may revoke a GRANT or drop a table while we work. That is not the fault of the record that meets it, unlike a
record that names a table which was never there. So what we may do with which tables is noted once.
"""

import re
from collections.abc import Callable

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from streamfea.database.connection.driver import driver_of
from streamfea.model import Base

__all__ = ["Health", "wait_for_locks_less"]

# Of a server with very many tables only some are noted: the rest are as if they had never been there.
_NOTED_AT_MOST = 50_000
_PRIVILEGES = text("""
    SELECT n.nspname, c.relname, privilege
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace,
    unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    AND n.nspname <> ALL (ARRAY['pg_catalog', 'information_schema', 'pg_toast'])
    AND (pg_table_is_visible(c.oid) OR n.nspname = ANY (:schemas))
    AND has_schema_privilege(n.oid, 'USAGE')
    AND CASE
        WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'USAGE')
        WHEN privilege = 'DELETE' THEN has_table_privilege(c.oid, privilege)
        ELSE has_any_column_privilege(c.oid, privilege)
    END
    LIMIT :at_most
""")
_IS_READ_ONLY = text("SELECT CAST(current_setting('transaction_read_only') AS boolean)")
# Half of statement_timeout, unless lock_timeout is less already; both in milliseconds, 0 for none.
_WAIT_LESS = """
    SELECT set_config('lock_timeout', CAST(GREATEST(statement.setting::int / 2, 1) AS text), true)
    FROM pg_settings AS statement, pg_settings AS lock
    WHERE statement.name = 'statement_timeout' AND lock.name = 'lock_timeout' AND statement.setting::int > 0
    AND (lock.setting::int = 0 OR lock.setting::int > statement.setting::int / 2)
"""


class Health:
    """Compares what PostgreSQL permits now with what it permitted when `note()` was called."""

    def __init__(self, sessions: Callable[[], Session]) -> None:
        self._sessions = sessions
        self._noted: set[tuple[str, str, str]] = set()

    def note(self) -> None:
        """Remember the present privileges; raises SQLAlchemy's errors when PostgreSQL is away."""
        with self._sessions() as session:
            self._noted = _privileges(session)

    def is_good(self, error: BaseException | None) -> bool:
        """Tell whether PostgreSQL takes writes, and the table or privilege that `error` names has not been taken away.

        Raises SQLAlchemy's errors when it is away.
        """
        with self._sessions() as session:
            if session.scalar(_IS_READ_ONLY):
                return False
            return error is None or not self._is_lost(session, error)

    def is_taken_away(self, error: BaseException) -> bool:
        """Tell whether `error` complains of something that we were allowed once."""
        with self._sessions() as session:
            return self._is_lost(session, error)

    def _is_lost(self, session: Session, error: BaseException) -> bool:
        said = str(getattr(error, "orig", None) or error)
        named = {privilege for privilege in self._noted if re.search(rf"\b{re.escape(privilege[1])}\b", said)}
        return bool(named and named - _privileges(session))


def wait_for_locks_less(connection: Connection) -> None:
    """Have a wait for a lock end before `statement_timeout` ends the statement, in this transaction.

    Then the SQLSTATE says whether a statement was slow, or somebody else's lock in its way.
    """
    driver_of(connection).execute(_WAIT_LESS)


def _privileges(session: Session) -> set[tuple[str, str, str]]:
    """Return schema, name and privilege of each table in the search path, or in a model's schema."""
    schemas = sorted({table.schema for table in Base.metadata.tables.values() if table.schema is not None})
    rows = session.execute(_PRIVILEGES, {"schemas": schemas, "at_most": _NOTED_AT_MOST})
    return {(row.nspname, row.relname, row.privilege) for row in rows}
