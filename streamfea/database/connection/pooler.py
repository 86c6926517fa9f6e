"""Adapts to a pooler that gives each transaction any free connection, as PgBouncer does.

There nothing may last longer than a transaction: what one client prepared or set would be another's. So nothing is
prepared, and a transaction says itself whose it is, where elsewhere its session does.
"""

from typing import Any, Literal

import psycopg
from sqlalchemy import Connection, Engine, event

from streamfea.database.connection.driver import driver_of, sqlalchemys
from streamfea.database.connection.failures import begin_failures

__all__ = ["NAME_OF_ALL", "Pooler", "heed_pooler"]

Pooler = Literal["none", "session", "transaction"]

NAME_OF_ALL = "streamfea"
_POOLED = "streamfea: pooled"
# A pooler cannot tell its client which backend the next transaction will have: what it tells is none's pid.
# In one statement, since the next may go elsewhere.
_NAME_UNLESS_POOLED = """
    SELECT pg_backend_pid() = %(pid)s
    AND set_config('application_name', %(name)s, false) IS NOT NULL
"""
_NAME_TRANSACTION = "SELECT set_config('application_name', %s, true), pg_backend_pid()"


def heed_pooler(engine: Engine, name: str, pooler: Pooler | None) -> None:
    """Have the sessions of `engine`, which start as `NAME_OF_ALL`, called `name`, without being another client's.

    Whether there is a pooler is found out for each connection, unless `pooler` says so.
    """
    failures = begin_failures(engine)

    @event.listens_for(engine, "connect")
    def note_pooler(driver: "psycopg.Connection[Any]", record: Any) -> None:
        is_pooled = pooler == "transaction" or not _name_unless_pooled(driver, name)
        if is_pooled:
            record.info[_POOLED] = True
            driver.prepare_threshold = None

    @event.listens_for(engine, "begin")
    def name_transaction(connection: Connection) -> None:
        if name != NAME_OF_ALL and _POOLED in connection.info:
            driver: Any = driver_of(connection)
            try:
                driver.backend_pid = driver.execute(_NAME_TRANSACTION, [name]).fetchone()[1]
            except psycopg.Error as error:
                failures.note()
                raise sqlalchemys(connection, _NAME_TRANSACTION, error) from error


def _name_unless_pooled(driver: "psycopg.Connection[Any]", name: str) -> bool:
    """Call the session `name` and return True, unless it is a pooler that answers."""
    driver.autocommit = True
    row = driver.execute(_NAME_UNLESS_POOLED, {"pid": driver.info.backend_pid, "name": name}).fetchone()
    driver.autocommit = False
    return bool(row and row[0])
