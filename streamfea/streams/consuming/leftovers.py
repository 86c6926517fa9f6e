"""Removes last errors of entries that somebody else acknowledged, or dropped with a consumer."""

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from streamfea.core.group_ref import GroupRef
from streamfea.streams.connection.errors import group_is_gone, must_stop
from streamfea.streams.connection.keys import errors_key
from streamfea.streams.connection.scripts import Scripts

__all__ = ["COUNT_AT_MOST", "Sweeper", "count_retrying"]

COUNT_AT_MOST = 100
"""At most this many rows are looked at one by one."""
_BEGINNING = "0"


class Sweeper:
    """Removes the rows of a group's errors hash whose entries are not pending, a page of the hash a call."""

    def __init__(self, client: Redis, ref: GroupRef) -> None:
        self._client = client
        self._ref = ref
        self._cursor = _BEGINNING

    def sweep(self) -> bool:
        """Look through the next page; return whether it was the last, or whether this is not permitted."""
        try:
            self._cursor, _ = _look_through(self._client, self._ref, self._cursor, remove=True)
        except RedisError as error:
            if not must_stop(error):
                raise
            return True
        return self._cursor == _BEGINNING


def count_retrying(client: Redis, ref: GroupRef, *, rows: int, pending: int) -> int:
    """Return how many of a group's `pending` entries have one of the `rows`; of very many, how many at most."""
    if not rows or rows > COUNT_AT_MOST:
        return min(rows, pending)
    try:
        cursor, retrying = _look_through(client, ref, _BEGINNING, remove=False)
    except RedisError as error:
        if not must_stop(error):
            raise
        return min(rows, pending)
    while cursor != _BEGINNING:
        cursor, more = _look_through(client, ref, cursor, remove=False)
        retrying += more
    return min(retrying, pending)


def _look_through(client: Redis, ref: GroupRef, cursor: str, *, remove: bool) -> tuple[str, int]:
    keys = [ref.stream, errors_key(ref)]
    try:
        following, pending = Scripts(client).run("look_through_errors", keys, [ref.group, cursor, int(remove)])
    except ResponseError as error:
        if not group_is_gone(error):
            raise
        return _BEGINNING, 0
    return following.decode(), int(pending)
