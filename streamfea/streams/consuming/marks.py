"""Tells streams of one name apart by a mark inside the stream.

Ids tell entries of one stream apart. Where a stream is deleted, or the server loses it, and producers give the ids,
other entries come with the same ids. So exactly-once keeps a number in the stream itself, in the name of a group that
nobody reads: a deletion takes it along, a replica and a backup have it, a consumer group that is lost leaves it there.

Asking whether it is still there costs one small command a batch: if it was there before entries were read and is
afterwards, they are of the stream that has it.
"""

import secrets
from typing import Any, NamedTuple

from redis import Redis

from streamfea.core.entry import MARKS
from streamfea.core.group_ref import GroupRef
from streamfea.streams.connection.keys import errors_key
from streamfea.streams.connection.scripts import Scripts

__all__ = ["MARK_PREFIX", "Joined", "is_mark", "join", "mark_group"]

MARK_PREFIX = "streamfea:stream:"


class Joined(NamedTuple):
    """What a consumer finds in a stream: its mark, and whether the group had to be created.

    Without a mark nothing is decided yet: whose the entry `oldest_id` is has to be looked up.
    """

    mark: int | None
    created: bool = False
    oldest_id: str = ""


def mark_group(mark: int | None) -> str:
    """Return the name of the group that says which stream it is; '' for no mark."""
    return "" if mark is None else f"{MARK_PREFIX}{mark}"


def is_mark(group: bytes) -> bool:
    """Tell whether a group of a stream is no more than a mark."""
    return group.startswith(MARK_PREFIX.encode())


def join(client: Redis, ref: GroupRef, looked_up: tuple[str, int | None] = ("", None)) -> Joined:
    """Create the group and the stream unless they are there, and find or make the stream's mark.

    `looked_up` is the oldest entry id of an earlier call's answer with the mark of the stream it belongs to; None for
    one that was never marked.
    """
    new = 1 + secrets.randbelow(MARKS - 1)
    oldest_id, mark = looked_up
    arguments: list[Any] = [ref.group, MARK_PREFIX, new, oldest_id, new if mark is None else mark]
    found, answer = Scripts(client).run("join", [ref.stream, errors_key(ref)], arguments)
    if not found:
        return Joined(None, oldest_id=answer.decode())
    return Joined(int(found), created=bool(answer))
