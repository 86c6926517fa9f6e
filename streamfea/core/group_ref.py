"""The names of a stream and a consumer group."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GroupRef:
    """The names of a stream and of a consumer group that reads it; `queue` is the name of the queue they belong to.

    This is all that most of the Redis side and the ledger need of a queue.
    """

    stream: str
    group: str
    queue: str = ""
