"""Setting a group back to the beginning of its stream."""

from datetime import timedelta

from redis import Redis
from redis.exceptions import ResponseError

from streamfea.durations import to_ms
from streamfea.settings import Queue
from streamfea.streams.faults import group_is_gone
from streamfea.streams.keys import errors_key
from streamfea.streams.scripts import Scripts

__all__ = ["rewind"]


def rewind(client: Redis, queue: Queue, *, force: bool = False) -> list[str]:
    """Make every entry that is still in the stream of `queue` unread for its group; dead letters stay.

    Returns the names of the consumers that are at work, if there are any, and then changes nothing: one that has read
    entries would acknowledge them although they are to be read again. A consumer is at work when it was seen within
    `claim_idle`, or the longest read. With `force` none is asked about.
    """
    at_work = timedelta(0) if force else max(queue.claim_idle, 2 * queue.block)
    keys = [queue.stream, errors_key(queue.stream, queue.group)]
    try:
        busy: list[bytes] = Scripts(client).run("rewind", keys, [queue.group, to_ms(at_work)])
    except ResponseError as error:
        if group_is_gone(error) or "no such key" in str(error):
            return []  # a group that is not there will be created at the beginning
        raise
    return [name.decode() for name in busy]
