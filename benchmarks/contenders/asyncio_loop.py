"""A loop by hand: asyncio, redis.asyncio and psycopg, no ORM, a commit and an acknowledgement for each record.

From redis-py's "Asyncio Examples" and psycopg's "Concurrent operations" (`AsyncConnection`).
"""

import asyncio
import json
from typing import Any

import psycopg
from redis import asyncio as redis_asyncio

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
    "asyncio by hand, without ORM",
    ("-m", "benchmarks.contenders.asyncio_loop"),
    add_to_stream,
    acknowledged_by_group,
    commits_each=True,
    isolates=True,
)

_INSERT = "INSERT INTO my_event (name, timestamp) VALUES (%(name)s, %(timestamp)s)"


async def _main() -> None:
    client = redis_asyncio.from_url(redis_url(), protocol=2)
    async with await psycopg.AsyncConnection.connect(database_url("postgresql")) as connection:
        while True:
            reply: Any = await client.xreadgroup(GROUP, "one", {STREAM: ">"}, count=100, block=1000)
            for _, entries in reply:
                for entry_id, fields in entries:
                    await connection.execute(_INSERT, json.loads(fields[b"record"]))
                    await connection.commit()
                    await client.xack(STREAM, GROUP, entry_id)


if __name__ == "__main__":
    asyncio.run(_main())
