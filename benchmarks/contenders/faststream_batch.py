"""FastStream on a Redis stream, 500 messages at a time and one commit for them: one bad record fails them all.

From FastStream's documentation: "Redis Streams: Batch" (`batch=True`, the function gets a list) with a consumer
group, and SQLAlchemy's `add_all()`.
"""

import asyncio
import logging
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.redis import RedisBroker, StreamSub
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from benchmarks.contenders.contender import (
    GROUP,
    STREAM,
    Contender,
    acknowledged_by_group,
    database_url,
    redis_url,
)
from benchmarks.contenders.faststream_single import fill
from benchmarks.contenders.model import MyEvent

broker = RedisBroker(redis_url(), log_level=logging.DEBUG)
app = FastStream(broker)
sessions = async_sessionmaker(create_async_engine(database_url()))


@broker.subscriber(
    stream=StreamSub(STREAM, group=GROUP, consumer="one", batch=True, max_records=500),
    ack_policy=AckPolicy.NACK_ON_ERROR,
)
async def store(messages: list[dict[str, Any]]) -> None:
    """Store records."""
    async with sessions() as session:
        session.add_all([MyEvent(**message) for message in messages])
        await session.commit()


CONTENDER = Contender(
    "FastStream, batch=True",
    ("-m", "benchmarks.contenders.faststream_batch"),
    fill,
    acknowledged_by_group,
    commits_each=False,
    isolates=False,
)

if __name__ == "__main__":
    asyncio.run(app.run(log_level=logging.ERROR))
