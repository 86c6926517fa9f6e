"""A queue that no configuration names: its settings, its group's name, and consumers of that."""

import os

from redis import Redis

from streamfea.config.sections import Queue
from streamfea.core.group_ref import GroupRef
from streamfea.streams.consuming.group import GroupConsumer
from streamfea.streams.consuming.name_lock import consumer_name

__all__ = ["NO_PROCESS", "consumer_of", "dead_name", "join", "queue_of", "ref_of"]

NO_PROCESS = 2**22 + 1
"""Above the largest process id that Linux gives."""


def queue_of(stream: str) -> Queue:
    """Return the settings of a queue with this stream."""
    return Queue(name="q", handler="recorder", stream=stream)


def ref_of(stream: str) -> GroupRef:
    """Return the group of that queue, which is also the group of every test project."""
    return queue_of(stream).ref


def consumer_of(client: Redis, stream: str, name: str) -> GroupConsumer:
    """Return the consumer of this name."""
    queue = queue_of(stream)
    return GroupConsumer(client, queue.ref, name, queue.claim_idle)


def join(client: Redis, stream: str, name: str, *, hold: int = 0) -> None:
    """Make `name` a member of the group that holds so many entries."""
    client.xgroup_createconsumer(stream, "streamfea", name)
    for _ in range(hold):
        client.xadd(stream, {"record": "{}"})
    if hold:
        client.xreadgroup("streamfea", name, {stream: ">"}, count=hold)


def dead_name() -> str:
    """Return the name of a process that was started here and has ended."""
    return consumer_name(None, 1).replace(f"-{os.getpid()}-", f"-{NO_PROCESS}-")
