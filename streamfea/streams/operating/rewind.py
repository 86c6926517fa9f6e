"""Sets a group back to the beginning of its stream."""

from datetime import timedelta

from redis import Redis
from redis.exceptions import ResponseError

from streamfea.core.durations import to_ms
from streamfea.core.group_ref import GroupRef
from streamfea.streams.connection.errors import group_is_gone
from streamfea.streams.connection.keys import errors_key
from streamfea.streams.connection.names import name_of
from streamfea.streams.connection.scripts import Scripts

__all__ = ["at_work_within", "rewind"]


def at_work_within(claim_idle: timedelta, block: timedelta) -> timedelta:
    """Return how lately a consumer was seen that counts as at work: `claim_idle`, or the longest read."""
    return max(claim_idle, 2 * block)


def rewind(client: Redis, ref: GroupRef, at_work: timedelta) -> list[str]:
    """Make every entry that is still in the stream unread for the group; dead letters stay.

    Returns the names of the consumers that are at work, if there are any, and then changes nothing: one that has read
    entries would acknowledge them although they are to be read again. Consumers count as at work that were
    seen within `at_work`; with a time of 0 none does.
    """
    keys = [ref.stream, errors_key(ref)]
    try:
        busy: list[bytes] = Scripts(client).run("rewind", keys, [ref.group, to_ms(at_work)])
    except ResponseError as error:
        if group_is_gone(error) or "no such key" in str(error):
            return []  # a group that is not there will be created at the beginning
        raise
    return [name_of(name) for name in busy]
