"""Puts a server's error into one line, without SQL, parameters or wrappings."""

from streamfea.errors import StreamfeaError, failure

__all__ = ["complaint", "complaint_of_server"]

# PostgreSQL manual, "PostgreSQL Error Codes".
_REMEDIES = {
    "42P01": "run `streamfea initdb`",
    "55P03": "somebody has locked the table; try again when that is over",
    "57014": "a statement_timeout of the role or the database ended it",
    "42P05": "a pooler shares connections between clients; give streamfea a session of its own",
    "26000": "a pooler shares connections between clients; give streamfea a session of its own",
}


def complaint(error: BaseException) -> StreamfeaError:
    """Return an error in one line, with its remedy if there is one."""
    return complaint_of_server(error) or StreamfeaError(failure(error))


def complaint_of_server(error: BaseException) -> StreamfeaError | None:
    """Return the message of a server's or a connection's error; None for other errors."""
    from redis.exceptions import RedisError  # noqa: PLC0415 - loaded already if it is one of its own
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    if isinstance(error, RedisError):
        from streamfea.streams.connection.errors import reason_of, remedy_of  # noqa: PLC0415

        return StreamfeaError(f"Redis: {reason_of(error)}", remedy=remedy_of(error))
    if isinstance(error, SQLAlchemyError):
        cause = getattr(error, "orig", None) or error
        remedy = _REMEDIES.get(str(getattr(cause, "sqlstate", None)), "")
        first = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        return StreamfeaError(f"PostgreSQL: {first}", remedy=remedy)
    return None
