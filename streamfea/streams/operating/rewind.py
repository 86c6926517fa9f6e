"""Setting a group back to the beginning of its stream."""

from datetime import timedelta

from redis import Redis
from redis.exceptions import ResponseError

from streamfea.config.settings import Queue
from streamfea.core.durations import to_ms
from streamfea.streams.connection.errors import group_is_gone
from streamfea.streams.connection.keys import errors_key
from streamfea.streams.connection.names import name_of
from streamfea.streams.connection.scripts import Scripts

__all__ = ["at_work_within", "rewind"]


def at_work_within(queue: Queue) -> timedelta:
    """Return how lately a consumer was seen that counts as at work: `claim_idle`, or the longest read."""
    return max(queue.claim_idle, 2 * queue.block)


def rewind(client: Redis, queue: Queue, *, force: bool = False) -> list[str]:
    """Make every entry that is still in the stream of `queue` unread for its group; dead letters stay.

    Returns the names of the consumers that are at work, if there are any, and then changes nothing: one that has read
    entries would acknowledge them although they are to be read again. Consumers are at work that were seen
    `at_work_within`. With `force` none is asked about.
    """
    at_work = timedelta(0) if force else at_work_within(queue)
    keys = [queue.stream, errors_key(queue.stream, queue.group)]
    try:
        busy: list[bytes] = Scripts(client).run("rewind", keys, [queue.group, to_ms(at_work)])
    except ResponseError as error:
        if group_is_gone(error) or "no such key" in str(error):
            return []  # a group that is not there will be created at the beginning
        raise
    return [name_of(name) for name in busy]
