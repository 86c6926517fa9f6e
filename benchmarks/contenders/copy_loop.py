"""The floor that no Python can go under: XREADGROUP, COPY, commit, XACK, 500 records at a time.

It does none of what streamfea is for: no handler, no ORM, and one bad record fails its whole batch.
"""

import json
from collections.abc import Callable
from typing import Any

import psycopg
from redis import Redis

from benchmarks.contenders.contender import (
    GROUP,
    STREAM,
    Contender,
    acknowledged_by_group,
    add_to_stream,
    database_url,
    redis_url,
)

CONTENDER = Contender(
    "COPY by hand, without ORM (the floor)",
    ("-m", "benchmarks.contenders.copy_loop"),
    add_to_stream,
    acknowledged_by_group,
    commits_each=False,
    isolates=False,
)


def run(write: Callable[[psycopg.Connection, list[bytes]], None]) -> None:
    """Read, write, commit and acknowledge for ever."""
    client = Redis.from_url(redis_url(), protocol=2)
    with psycopg.connect(database_url("postgresql")) as connection:
        while True:
            reply: Any = client.xreadgroup(GROUP, "one", {STREAM: ">"}, count=500, block=1000)
            for _, entries in reply:
                write(connection, [fields[b"record"] for _, fields in entries])
                connection.commit()
                client.xack(STREAM, GROUP, *(entry_id for entry_id, _ in entries))


def _write(connection: psycopg.Connection, records: list[bytes]) -> None:
    with connection.cursor() as cursor, cursor.copy("COPY my_event (name, timestamp) FROM STDIN") as copy:
        for record in records:
            event = json.loads(record)
            copy.write_row((event["name"], event["timestamp"]))


if __name__ == "__main__":
    run(_write)
