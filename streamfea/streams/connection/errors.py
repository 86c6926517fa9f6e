"""What an error reply of Redis means: wait, create the group again, or stop and tell the operator.

| reply | when | what is done |
|---|---|---|
| LOADING, BUSY, MISCONF, NOREPLICAS, OOM, a lost or silent connection | the server cannot serve now | wait |
| READONLY, MASTERDOWN, CLUSTERDOWN, TRYAGAIN | a failover or a resharding is under way | wait |
| what is no reply of a Redis at all | something between us and the server answers in its place | wait |
| NOGROUP, UNBLOCKED | the group, or the stream, was deleted | create the group again |
| NOAUTH, WRONGPASS, NOPERM | we are not let in, or may not do this | stop and tell |
| `unknown command` | the command is renamed or forbidden, or a Sentinel answers | stop and tell |
| WRONGTYPE | a key holds something that is not ours | stop and tell |
| MOVED, ASK, CROSSSLOT | the server is a node of a cluster, and we talk to it as if it were alone | stop and tell |
| a TLS handshake that fails over certificates | the server, or we, cannot be trusted | stop and tell |
"""

import ssl

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterError,
    ConnectionError,  # noqa: A004 - redis-py's name for it
    InvalidResponse,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - redis-py's name for it
    TryAgainError,
)

__all__ = [
    "group_is_gone",
    "is_distrusted",
    "is_full",
    "is_outage",
    "is_unknown_command",
    "must_stop",
    "reason_of",
    "remedy_of",
    "told",
    "was_unblocked",
]

# redis-py leaves the code out of the text of errors that it has a type for; ClusterError is CLUSTERDOWN, MASTERDOWN and
# what a cluster's client gives up with.
_WAIT_TYPES = (
    ConnectionError,
    TimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    OutOfMemoryError,
    ClusterError,
    TryAgainError,
    InvalidResponse,
)
_WAIT = (
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "MISCONF",  # it cannot persist, disk full for one, and takes no writes
    "NOREPLICAS",  # too few replicas are connected to take writes
    "OOM",  # maxmemory is reached
    "BUSY ",  # a script blocks it
)
_GONE = ("NOGROUP", "UNBLOCKED")
_NOT_LET_IN = (
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "ACL failure in script",  # NOPERM of a command in a script
    "The user executing the script can't run",  # the same on 6.2
    "Protocol error: unauthenticated",  # NOAUTH of a command with many arguments
)
_NOT_LET_IN_TYPES = (AuthenticationError, AuthorizationError, NoPermissionError)
# Reasons that OpenSSL gives: an alert from the server, or files that it cannot use.
_OUR_CERTIFICATE = ("CERTIFICATE", "UNKNOWN_CA", "KEY_VALUES_MISMATCH", "PEM", "NO_START_LINE")
_WRONG_TYPE = ("WRONGTYPE",)
# Of a command by itself, and of one in a script, in the words of 6.2 and of 7.0.
_UNKNOWN = ("unknown command", "unknown subcommand", "Unknown Redis command called from", "Unknown subcommand")
_CLUSTER_TYPES = (MovedError, AskError, ClusterCrossSlotError)
_CLUSTER = ("MOVED", "ASK ", "CROSSSLOT", "Script attempted to access a non local key in a cluster node")


def is_outage(error: BaseException) -> bool:
    """Tell whether the server is away or cannot serve for a while: waiting helps."""
    if must_stop(error):
        return False
    return isinstance(error, _WAIT_TYPES) or (isinstance(error, ResponseError) and _code(error).startswith(_WAIT))


def group_is_gone(error: ResponseError) -> bool:
    """Tell whether the group, or its stream, does not exist (any more)."""
    return _code(error).startswith(_GONE)


def was_unblocked(error: ResponseError) -> bool:
    """Tell whether the server has ended a blocking command by itself: looking again tells why."""
    return _code(error).startswith("UNBLOCKED")


def is_full(error: BaseException) -> bool:
    """Tell whether `maxmemory` is reached and this command might need more. Commands that only remove still work."""
    return isinstance(error, OutOfMemoryError) or (isinstance(error, ResponseError) and _code(error).startswith("OOM"))


def is_unknown_command(error: BaseException) -> bool:
    """Tell whether the server does not know a command that it was sent, or that a script runs."""
    return isinstance(error, ResponseError) and any(words.lower() in str(error).lower() for words in _UNKNOWN)


def must_stop(error: BaseException) -> bool:
    """Tell whether only the operator can help."""
    return isinstance(error, RedisError) and bool(remedy_of(error))


def is_distrusted(error: RedisError) -> bool:
    """Tell whether a TLS connection cannot be made because of a certificate, the server's or ours."""
    return _distrust(error) is not None


def told(error: RedisError) -> str:
    """Return the server's message and, where only the operator can help, the remedy, in one line."""
    remedy = remedy_of(error)
    return f"{reason_of(error)}: {remedy}" if remedy else reason_of(error)


def reason_of(error: RedisError) -> str:
    """Return the server's message in one line."""
    text = _distrust(error) or " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MovedError):
        text = f"MOVED {text}"
    if "slot not served" in text:
        text += " (a cluster in which no node serves this key's slot: it has no slots yet, or has lost that node)"
    return text


def remedy_of(error: RedisError) -> str:
    """Return the remedy for the operator; an empty text if waiting or a retry helps."""
    code = _code(error)
    if _distrust(error) is not None:
        return "check redis.url, and tls_ca_file, tls_cert_file, tls_key_file in [redis]"
    if isinstance(error, _NOT_LET_IN_TYPES) or code.startswith(_NOT_LET_IN):
        return "check redis.username, its password and what they may do"
    if is_unknown_command(error):
        return (
            "the server has this command renamed or forbidden, or is no Redis 6.2 or later (a Sentinel?); "
            "`streamfea check` tells which commands it lacks"
        )
    if code.startswith(_WRONG_TYPE):
        return "a key is in use for something else; set another stream or list, or remove the key"
    if isinstance(error, _CLUSTER_TYPES) or code.startswith(_CLUSTER):
        return "the server is a node of a cluster; set redis.url to one that is not"
    return ""


def _distrust(error: BaseException | None) -> str | None:
    """Return why no TLS connection can be made however often it is tried."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"the server's certificate is refused: {error.verify_message}"
        if isinstance(error, ssl.SSLError) and any(word in str(error.reason or error) for word in _OUR_CERTIFICATE):
            return f"a certificate or key of ours cannot be used: {error.reason or error}"
        error = error.__cause__ or error.__context__
    return None


def _code(error: RedisError) -> str:
    """Return the reply from its code on; a script's error comes wrapped in other words on some versions."""
    text = str(error)
    for code in (*_GONE, *_NOT_LET_IN, *_WRONG_TYPE, *_CLUSTER, *_WAIT):
        position = text.find(code)
        if position > 0 and text[position - 1] in " -":
            return text[position:]
    return text
