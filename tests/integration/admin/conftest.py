"""A queue as `streamfea.admin` is given it, and the entries that people act on."""

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from streamfea.config.sections import Queue

Deliver = Callable[..., list[str]]


@pytest.fixture
def queue(name: str) -> Queue:
    """A queue of a stream that no other test has."""
    return Queue(name="q", handler="recorder", stream=f"{name}:stream", legacy_list=f"{name}:list")


@pytest.fixture
def deliver(client: Redis, queue: Queue) -> Deliver:
    """Add entries with these records and have a consumer read them; return their ids."""

    def deliver(*records: str, consumer: str = "somebody") -> list[str]:
        if not client.exists(queue.stream):
            client.xgroup_create(queue.stream, queue.group, id="0", mkstream=True)
        added: list[Any] = [client.xadd(queue.stream, {"record": record}) for record in records]
        client.xreadgroup(queue.group, consumer, {queue.stream: ">"})
        return [entry_id.decode() for entry_id in added]

    return deliver
