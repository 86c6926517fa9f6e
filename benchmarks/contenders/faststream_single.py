"""FastStream on a Redis stream with a consumer group, one message at a time.

From FastStream's documentation: "Redis Streams: Consumer Groups" (`StreamSub` with group and consumer) and
"Acknowledgement" (a message is acknowledged when its function has returned). The session is that of SQLAlchemy's
asyncio extension.
"""

import asyncio
import logging
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.redis import RedisBroker, StreamSub
from redis import Redis
from redis import asyncio as redis_asyncio
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from benchmarks.contenders.contender import (
    GROUP,
    STREAM,
    Contender,
    acknowledged_by_group,
    database_url,
    redis_url,
)
from benchmarks.contenders.model import MyEvent

broker = RedisBroker(redis_url(), log_level=logging.DEBUG)
app = FastStream(broker)
sessions = async_sessionmaker(create_async_engine(database_url()))


@broker.subscriber(
    stream=StreamSub(STREAM, group=GROUP, consumer="one", max_records=100), ack_policy=AckPolicy.NACK_ON_ERROR
)
async def store(message: dict[str, Any]) -> None:
    """Store a record."""
    async with sessions() as session:
        session.add(MyEvent(**message))
        await session.commit()


def fill(client: Redis, records: list[bytes]) -> None:
    """Publish records as FastStream does, many in a round trip."""
    client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    asyncio.run(_publish(records))


async def _publish(records: list[bytes]) -> None:
    async with RedisBroker(redis_url()) as publisher, redis_asyncio.from_url(redis_url()) as client:
        for start in range(0, len(records), 1000):
            async with client.pipeline(transaction=False) as pipeline:
                for record in records[start : start + 1000]:
                    await publisher.publish(record, stream=STREAM, pipeline=pipeline)
                await pipeline.execute()


CONTENDER = Contender(
    "FastStream",
    ("-m", "benchmarks.contenders.faststream_single"),
    fill,
    acknowledged_by_group,
    commits_each=True,
    isolates=True,
)

if __name__ == "__main__":
    asyncio.run(app.run(log_level=logging.ERROR))
