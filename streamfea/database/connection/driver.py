"""The driver's connection beneath SQLAlchemy's, and the state of its transaction."""

from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

__all__ = ["driver_of", "has_begun", "sqlalchemys", "status_of"]


def driver_of(connection: Connection) -> "psycopg.Connection[Any]":
    """Return psycopg's connection. SQLAlchemy does not notice what is done to it directly."""
    driver: Any = connection.connection.dbapi_connection
    return driver  # type: ignore[no-any-return]  # SQLAlchemy leaves the driver's types open


def status_of(connection: Connection) -> TransactionStatus:
    """Return how far PostgreSQL is with the transaction; UNKNOWN when the connection is broken."""
    return driver_of(connection).info.transaction_status


def has_begun(connection: Connection) -> bool:
    """Tell whether PostgreSQL has begun the transaction, which it does with the first statement that it is sent.

    Until then a `rollback()` of the driver undoes one statement as a savepoint would, two round trips cheaper: the
    next statement begins the transaction again, and nothing in it is lost.
    """
    return status_of(connection) is not TransactionStatus.IDLE


def sqlalchemys(connection: Connection, statement: str, error: psycopg.Error) -> BaseException:
    """Return the exception that SQLAlchemy raises for an error of the driver, and drop a connection that is lost."""
    dialect: Any = connection.dialect
    lost = bool(dialect.is_disconnect(error, driver_of(connection), None))
    if lost:
        connection.invalidate(error)
    return DBAPIError.instance(
        statement, None, error, psycopg.Error, hide_parameters=True, connection_invalidated=lost, dialect=dialect
    )
