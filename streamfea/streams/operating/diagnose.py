"""The Redis side of `streamfea check`."""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from redis import Redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from streamfea.config.sections import Queue
from streamfea.core.check_result import CheckResult
from streamfea.streams.connection.errors import is_full, is_outage, is_unknown_command, reason_of, remedy_of
from streamfea.streams.connection.keys import dead_letters_key, errors_key, janitor_key, name_lock_key
from streamfea.streams.operating.other_streams import OtherStreams, is_virgin

__all__ = ["inspect_redis", "why_useless"]


_OLDEST = (6, 2)
# The words of a command that are worth telling, and its other arguments.
_Command: TypeAlias = tuple[list[str], list[object]]


def inspect_redis(client: Redis, queues: Sequence[Queue]) -> Iterator[CheckResult]:
    """Yield the results of checking the server and each queue's keys. Changes nothing on the server."""
    try:
        client.ping()
    except RedisError as error:
        yield CheckResult(
            "redis",
            "problem",
            reason_of(error),
            remedy_of(error) or "start it, or correct redis.url, username or password",
        )
        return
    if sentinel := _sentinel(client):
        yield CheckResult("redis", "problem", *sentinel)
        return
    info = _info(client)
    yield _version(client, info, queues[0])
    yield _persistence(client, info)
    yield _eviction(info)
    others = OtherStreams(client, queues)
    for queue in queues:
        yield _stream(client, queue, others)
        yield from (_list(client, queue, key) for key in queue.legacy_lists)
        yield _permissions(client, queue)


def why_useless(client: Redis, queue: Queue) -> tuple[str, str] | None:
    """Return why no worker of `queue` can work with this server, whatever it is permitted, and the remedy; or None.

    Raises what redis-py raises when the server is away.
    """
    unusable = _unusable(client, _workers_commands(queue))
    if unusable is None or not unusable.unknown:
        return None
    unknown = unusable._replace(denied=[])
    return _sentinel(client) or (_named(unknown), _remedy(unknown))


def _sentinel(client: Redis) -> tuple[str, str] | None:
    """Return the message for a Sentinel that answers, and the remedy."""
    info = _info(client)
    if "sentinel" not in (info.get("redis_mode"), info.get("server_mode")):
        return None
    try:
        masters: dict[str, Any] = client.sentinel_masters()  # type: ignore[assignment]  # redis-py leaves the types of replies open
    except RedisError:
        masters = {}
    known = [f"{name} at {master['ip']}:{master['port']}" for name, master in masters.items()]
    watched = f", which watches {', '.join(known)}" if known else ""
    return (
        f"a Sentinel answers at redis.url{watched}",
        "set redis.url to the host and port of the Redis that holds the stream",
    )


def _version(client: Redis, info: dict[str, object], queue: Queue) -> CheckResult:
    name = "Valkey" if info.get("server_name") == "valkey" else "Redis"
    version = info.get("valkey_version") or info.get("redis_version") or "of an unknown version"
    try:
        _run(client, "XPENDING", queue.stream, _nowhere(), "IDLE", 0, "-", "+", 1)  # IDLE came with 6.2
    except NoPermissionError:
        pass  # told with the other permissions
    except ResponseError as error:
        if "syntax error" in str(error) or (is_unknown_command(error) and _is_old(str(version))):
            return CheckResult(
                "redis", "problem", f"{name} {version} is too old", "upgrade to Redis 6.2 or later, or Valkey"
            )
    return CheckResult("redis", "ok", f"{name} {version}")


def _is_old(version: str) -> bool:
    numbers = [int(number) for number in version.split(".")[:2] if number.isdecimal()]
    return len(numbers) == len(_OLDEST) and tuple(numbers) < _OLDEST


def _persistence(client: Redis, info: dict[str, object]) -> CheckResult:
    if info.get("aof_enabled"):
        return CheckResult("redis persistence", "ok", "append-only file")
    try:
        save = client.config_get("save").get("save")
    except RedisError:
        return CheckResult(
            "redis persistence",
            "warning",
            "cannot be read: CONFIG GET is not permitted",
            "make sure that appendonly is yes",
        )
    if save:
        return CheckResult(
            "redis persistence", "warning", f"snapshots only ({save}): a crash loses what came after the last",
            "set appendonly yes",
        )  # fmt: skip
    return CheckResult(
        "redis persistence",
        "problem",
        "none: a restart loses every record in the streams",
        "set appendonly yes",
    )


def _eviction(info: dict[str, object]) -> CheckResult:
    policy = str(info.get("maxmemory_policy", "unknown"))
    limited = bool(info.get("maxmemory"))
    if policy == "noeviction":
        return CheckResult("redis maxmemory-policy", "ok", policy)
    if policy.startswith("volatile-"):
        return CheckResult(
            "redis maxmemory-policy",
            "ok",
            f"{policy}: evicts only keys with a time to live, which streams have not",
        )
    if policy == "unknown":
        return CheckResult(
            "redis maxmemory-policy",
            "warning",
            "cannot be read: INFO is not permitted",
            "make sure that it is noeviction",
        )
    detail = f"{policy}: " + ("may delete a whole stream" if limited else "would delete streams if maxmemory were set")
    return CheckResult(
        "redis maxmemory-policy",
        "problem" if limited else "warning",
        detail,
        "set maxmemory-policy noeviction",
    )


def _stream(client: Redis, queue: Queue, others: OtherStreams) -> CheckResult:
    what = f"queue {queue.name}: stream"
    try:
        kind = bytes(_run(client, "TYPE", queue.stream)).decode()
    except RedisError as error:
        return CheckResult(what, "problem", str(error), "grant TYPE on the stream")
    if kind == "none" or (kind == "stream" and is_virgin(client, queue.stream)):
        return _unused(queue, others, is_there=kind == "stream")
    if kind == "stream":
        return CheckResult(what, "ok", f"{queue.stream}: {client.xlen(queue.stream):,} entries")
    return CheckResult(
        what,
        "problem",
        f"{queue.stream} is a {kind}, not a stream",
        f"set queues.{queue.name}.stream to another key",
    )


def _unused(queue: Queue, others: OtherStreams, *, is_there: bool) -> CheckResult:
    """Tell of a stream that has never had an entry, and of others that producers may mean instead."""
    found = "no entry so far" if is_there else "not there yet; the first record or consumer creates it"
    told = others.told(queue.stream)
    return CheckResult(
        f"queue {queue.name}: stream",
        "warning" if others.has_namesake(queue.stream) else "ok",
        f"{queue.stream}: {found}" + (f". {told}" if told else ""),
        f"if producers write to one of these, set queues.{queue.name}.stream" if told else "",
    )


def _list(client: Redis, queue: Queue, key: str) -> CheckResult:
    setting = "legacy_list" if key == queue.legacy_list else "legacy_errors"
    what = f"queue {queue.name}: {setting}"
    try:
        kind = bytes(_run(client, "TYPE", key)).decode()
        waiting = int(_run(client, "LLEN", key)) if kind == "list" else 0
    except RedisError as error:
        return CheckResult(what, "problem", str(error), "grant TYPE and LLEN on the list")
    if kind in {"list", "none"}:
        return CheckResult(what, "ok", f"{key}: {waiting:,} elements to be moved to {queue.stream}")
    return CheckResult(
        what, "problem", f"{key} is a {kind}, not a list", f"set queues.{queue.name}.{setting} to the producers' list"
    )


def _permissions(client: Redis, queue: Queue) -> CheckResult:
    """Try every command that a worker uses, in a way that changes nothing.

    Redis looks at permissions before anything else.
    """
    what = f"queue {queue.name}: permissions"
    try:
        unusable = _unusable(client, [*_workers_commands(queue), *_operators_commands(queue)])
    except RedisError as error:
        return CheckResult(what, "problem", reason_of(error), remedy_of(error) or "run `streamfea check` again")
    if not unusable:
        return CheckResult(what, "ok", "all commands on all keys")
    return CheckResult(what, "problem", _named(unusable), _remedy(unusable))


class _Unusable(NamedTuple):
    """Commands, with their keys, that an ACL denies, and names of commands that the server does not have."""

    denied: list[str]
    unknown: list[str]


def _unusable(client: Redis, commands: Iterable[_Command]) -> _Unusable | None:
    """Return the commands that cannot be used; None when all can. All are tried in one round trip."""
    commands = list(commands)
    untyped: Any = client  # redis-py leaves execute_command() untyped
    with untyped.pipeline(transaction=False) as pipeline:
        for names, arguments in commands:
            pipeline.execute_command(*names, *arguments)
        replies = pipeline.execute(raise_on_error=False)
    tried = list(zip((names for names, _ in commands), replies, strict=True))
    for _, reply in tried:
        if (
            isinstance(reply, RedisError) and is_outage(reply) and not is_full(reply)
        ):  # a full one serves those that read
            raise reply
    denied = [" ".join(names) for names, reply in tried if isinstance(reply, NoPermissionError)]
    unknown = [names[0] for names, reply in tried if is_unknown_command(reply)]
    return _Unusable(denied, list(dict.fromkeys(unknown))) if denied or unknown else None


def _named(unusable: _Unusable) -> str:
    told = {"not permitted": unusable.denied, "renamed or forbidden": unusable.unknown}
    return "; ".join(f"{what}: {', '.join(commands)}" for what, commands in told.items() if commands)


def _remedy(unusable: _Unusable) -> str:
    remedies = ["grant them with ACL SETUSER"] if unusable.denied else []
    if unusable.unknown:
        remedies.append("remove rename-command from the server's configuration")
    return "; ".join(remedies)


def _operators_commands(queue: Queue) -> Iterator[_Command]:
    yield ["HLEN", errors_key(queue.ref)], []


def _workers_commands(queue: Queue) -> Iterator[_Command]:
    """Yield the words of each command that are worth telling, and its other arguments."""
    stream, nowhere = queue.stream, _nowhere()
    dead, errors = dead_letters_key(queue.ref), errors_key(queue.ref)
    # A group that does not exist, an id that cannot be: each is refused, or finds nothing, after the permission was
    # granted.
    yield ["XADD", stream], ["0-0", "field", "value"]
    yield ["XADD", dead], ["0-0", "field", "value"]
    yield ["XREADGROUP"], ["GROUP", nowhere, "nobody", "STREAMS", stream, ">"]
    yield ["XACK", stream], [nowhere, "0-0"]
    yield ["XCLAIM", stream], [nowhere, "nobody", 0, "0-0"]
    yield ["XAUTOCLAIM", stream], [nowhere, "nobody", 0, "0-0"]
    yield ["XPENDING", stream], [nowhere]
    yield ["XRANGE", stream], ["0-0", "0-0"]
    yield ["XLEN", dead], []
    yield ["XGROUP", "CREATE"], [stream, nowhere, "no-id"]
    yield ["XGROUP", "DELCONSUMER"], [stream, nowhere, "nobody"]
    yield ["XINFO", "GROUPS"], [stream]
    yield ["XINFO", "CONSUMERS"], [stream, nowhere]
    yield ["XINFO", "STREAM"], [stream]
    yield ["XTRIM", stream], ["MINID", "0-0"]
    yield ["XDEL", stream], ["0-0"]
    yield ["SET", janitor_key(queue.ref)], ["nobody", "NX", "XX"]
    yield ["GET", name_lock_key(queue.ref, "nobody")], []
    yield ["MGET", name_lock_key(queue.ref, "nobody")], []
    yield ["DEL", name_lock_key(queue.ref, "nobody")], []
    yield ["EXISTS", stream], []
    yield ["HSET", errors], []
    yield ["HMGET", errors], ["0-0"]
    yield ["HGET", errors], ["0-0"]
    yield ["HDEL", errors], ["0-0"]
    yield ["HSCAN", errors], [0]
    yield ["EVALSHA"], ["0" * 40, 1, stream]
    yield ["SCRIPT", "LOAD"], ["return 1"]
    yield ["TIME"], []
    for key in queue.legacy_lists:
        # Refused for their number of elements, after the permission was granted.
        yield ["LRANGE", key], ["no-number", 0]
        yield ["LTRIM", key], ["no-number", 0]
        yield ["BLMOVE", key], [key, "RIGHT", "RIGHT", "no-number"]


def _run(client: Redis, *command: object) -> Any:
    raw: Any = client  # redis-py leaves execute_command() untyped
    return raw.execute_command(*command)


def _info(client: Redis) -> dict[str, object]:
    try:
        return dict(client.info())
    except RedisError:
        return {}


def _nowhere() -> str:
    return f"streamfea-check-{secrets.token_hex(6)}"
