"""What the measurement has to know of a contender, and what contenders share."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from redis import Redis

STREAM = "events"
GROUP = "benchmark"


@dataclass(frozen=True)
class Contender:
    """A way to do the job.

    `command` are the arguments to Python that start one worker. `fill` puts records where it looks for them,
    `acknowledged` tells how many it is through with. One that commits each record gets a part of the records.
    `isolates` says that a bad record costs no other one its row.
    """

    name: str
    command: tuple[str, ...]
    fill: Callable[[Redis, list[bytes]], None]
    acknowledged: Callable[[Redis], int]
    commits_each: bool
    isolates: bool
    table: str = "my_event"


def redis_url() -> str:
    """Return where Redis is."""
    return os.environ["BENCHMARK_REDIS_URL"]


def database_url(driver: str = "postgresql+psycopg") -> str:
    """Return where PostgreSQL is; `postgresql` is what psycopg itself understands."""
    return os.environ["BENCHMARK_DATABASE_URL"].replace("postgresql+psycopg", driver)


def add_to_stream(client: Redis, records: list[bytes], stream: str = STREAM, group: str = GROUP) -> None:
    """Put records on a stream that has a group."""
    client.xgroup_create(stream, group, id="0", mkstream=True)
    for start in range(0, len(records), 1000):
        with client.pipeline(transaction=False) as pipeline:
            for record in records[start : start + 1000]:
                pipeline.xadd(stream, {"record": record})
            pipeline.execute()


def acknowledged_by_group(client: Redis, stream: str = STREAM, group: str = GROUP) -> int:
    """Return how many entries a group has read and acknowledged."""
    for one in client.xinfo_groups(stream):
        if one["name"] == group.encode():
            return int(one["entries-read"] or 0) - int(one["pending"])
    return 0
