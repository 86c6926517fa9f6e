"""What an error reply of Redis means: wait, create the group again, or stop and tell the operator."""

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ConnectionError,  # noqa: A004 - redis-py's name for it
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - redis-py's name for it
)

# Replies by which a server says that it cannot serve now and will later.
_WAIT = (
    "LOADING",  # reading its data from disk
    "READONLY",  # a replica: a failover is under way
    "MASTERDOWN",  # a replica that lost its master
    "CLUSTERDOWN",
    "TRYAGAIN",
    "MISCONF",  # it cannot persist, disk full for one, and takes no writes
    "NOREPLICAS",  # too few replicas are connected to take writes
    "OOM",  # maxmemory is reached
    "BUSY ",  # a script blocks it
)
_GONE = ("NOGROUP", "UNBLOCKED")
_STOP_TYPES = (AuthenticationError, AuthorizationError, NoPermissionError)
_STOP = (
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "WRONGTYPE",
    "ACL failure in script",  # NOPERM of a command in a script
    "The user executing the script can't run",  # the same on 6.2
)


def is_outage(error: BaseException) -> bool:
    """Tell whether the server is away or cannot serve for a while: waiting helps."""
    if must_stop(error):
        return False
    if isinstance(error, (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError, OutOfMemoryError)):
        return True
    return isinstance(error, ResponseError) and _code(error).startswith(_WAIT)


def group_is_gone(error: ResponseError) -> bool:
    """Tell whether the group, or its stream, does not exist (any more)."""
    return _code(error).startswith(_GONE)


def was_unblocked(error: ResponseError) -> bool:
    """Tell whether the server has ended a blocking command by itself: looking again tells why."""
    return _code(error).startswith("UNBLOCKED")


def must_stop(error: BaseException) -> bool:
    """Tell whether only the operator can help: no permission, or the key holds something that is no stream."""
    if not isinstance(error, RedisError):
        return False
    return isinstance(error, _STOP_TYPES) or _code(error).startswith(_STOP)


def _code(error: RedisError) -> str:
    """Return the reply from its code on; a script's error comes wrapped in other words on some versions."""
    text = str(error)
    for code in (*_GONE, *_STOP, *_WAIT):
        position = text.find(code)
        if position > 0 and text[position - 1] in " -":
            return text[position:]
    return text
