"""Dramatiq with a Redis broker: one process with its default number of threads.

From Dramatiq's "User Guide" (an actor for each record, which is acknowledged once it has run) and its page on the
command line. Its middleware is the default set.
"""

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from redis import Redis
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.contenders.contender import Contender, database_url, redis_url
from benchmarks.contenders.model import event

broker = RedisBroker(url=redis_url())
dramatiq.set_broker(broker)
sessions = sessionmaker(create_engine(database_url(), pool_size=8), class_=Session)


@dramatiq.actor
def store(record: str) -> None:
    """Store a record."""
    with sessions() as session:
        session.add(event(record))
        session.commit()


def _fill(client: Redis, records: list[bytes]) -> None:
    client.set("filled", len(records))
    for record in records:
        store.send(record.decode())


def _acknowledged(client: Redis) -> int:
    return int(client.get("filled") or 0) - client.hlen("dramatiq:default.msgs")


CONTENDER = Contender(
    "Dramatiq, 8 threads",
    ("-m", "dramatiq", "benchmarks.contenders.dramatiq_actor", "--processes", "1", "--threads", "8"),
    _fill,
    _acknowledged,
    commits_each=True,
    isolates=True,
)
