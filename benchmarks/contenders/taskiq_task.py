"""taskiq with its broker on Redis Streams: one process, up to 100 tasks at once, which is its default.

From the README of taskiq-redis (`RedisStreamBroker`, which supports acknowledgement), and taskiq's guide: "State and
Dependencies" (what a worker opens at its start) and "CLI" (`--ack-type when_executed`).
"""

import asyncio

from redis import Redis
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from taskiq import TaskiqEvents, TaskiqState
from taskiq_redis import RedisStreamBroker

from benchmarks.contenders.contender import Contender, acknowledged_by_group, database_url, redis_url
from benchmarks.contenders.model import event

broker = RedisStreamBroker(redis_url())
sessions = async_sessionmaker()


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def connect(_: TaskiqState) -> None:
    """Open the database in this process."""
    sessions.configure(bind=create_async_engine(database_url()))


@broker.task
async def store(record: str) -> None:
    """Store a record."""
    async with sessions() as session:
        session.add(event(record))
        await session.commit()


def _fill(_client: Redis, records: list[bytes]) -> None:
    asyncio.run(_kick(records))


async def _kick(records: list[bytes]) -> None:
    publisher = RedisStreamBroker(redis_url())
    await publisher.startup()
    for record in records:
        await store.kicker().with_broker(publisher).kiq(record.decode())
    await publisher.shutdown()


def _acknowledged(client: Redis) -> int:
    return acknowledged_by_group(client, "taskiq", "taskiq")


CONTENDER = Contender(
    "taskiq-redis, streams",
    (
        *("-m", "taskiq", "worker", "benchmarks.contenders.taskiq_task:broker"),
        *("--workers", "1", "--ack-type", "when_executed", "--log-level", "ERROR"),
    ),
    _fill,
    _acknowledged,
    commits_each=True,
    isolates=True,
)
