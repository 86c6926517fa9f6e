"""The stream of a project: records on it, and what became of them."""

import json
from collections.abc import Mapping

from redis import Redis
from redis.exceptions import ResponseError

from streamfea.streams.connection.keys import dead_letters_key, errors_key
from tests.support.commands import Project
from tests.support.queues import ref_of

__all__ = ["add", "letters", "nothing_is_left", "times_delivered"]


def add(client: Redis, project: Project, *records: Mapping[str, object]) -> None:
    """Put records on the stream, as JSON."""
    for record in records:
        client.xadd(project.stream, {"record": json.dumps(record)})


def letters(client: Redis, project: Project) -> list[dict[str, str]]:
    """Return the fields of all dead letters, oldest first."""
    found = client.xrange(dead_letters_key(ref_of(project.stream)))
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in found]  # type: ignore[union-attr]  # redis-py leaves the types of replies open


def nothing_is_left(client: Redis, project: Project) -> bool:
    """Tell whether every entry that was delivered is acknowledged, and no error of one is kept."""
    summary = client.xpending(project.stream, "streamfea")
    return not summary["pending"] and not client.exists(errors_key(ref_of(project.stream)))


def times_delivered(client: Redis, project: Project) -> int:
    """Return how often the oldest pending entry was delivered; 0 when none is pending."""
    try:
        pending = client.xpending_range(project.stream, "streamfea", "-", "+", 1)
    except ResponseError:  # there is no group yet
        return 0
    return int(pending[0]["times_delivered"]) if pending else 0
