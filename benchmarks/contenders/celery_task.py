"""Celery with a Redis broker, acknowledging after the task, and one process.

From Celery's user guide: "Tasks" (a task for each record, `acks_late=True`, `ignore_result=True`), "Using Redis"
(`redis+socket://`), and "Workers" for the command. The engine is made in the child process, as SQLAlchemy's chapter on
pooling with multiprocessing asks for.
"""

from typing import Any

from celery import Celery
from celery.signals import worker_process_init
from redis import Redis
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.contenders.contender import Contender, database_url, redis_url
from benchmarks.contenders.model import event

app = Celery("benchmark", broker=redis_url().replace("unix://", "redis+socket://"))
app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)
sessions = sessionmaker(class_=Session)


@worker_process_init.connect
def connect(**_: Any) -> None:
    """Open the database in this process."""
    sessions.configure(bind=create_engine(database_url()))


@app.task(acks_late=True, ignore_result=True)
def store(record: str) -> None:
    """Store a record."""
    with sessions() as session:
        session.add(event(record))
        session.commit()


def _fill(client: Redis, records: list[bytes]) -> None:
    client.set("filled", len(records))
    with app.producer_pool.acquire(block=True) as producer:
        for record in records:
            store.apply_async((record.decode(),), producer=producer)


def _acknowledged(client: Redis) -> int:
    return int(client.get("filled") or 0) - client.llen("celery") - client.hlen("unacked")


CONTENDER = Contender(
    "Celery, acks_late",
    ("-m", "celery", "-A", "benchmarks.contenders.celery_task", "worker", "--concurrency", "1", "-l", "ERROR"),
    _fill,
    _acknowledged,
    commits_each=True,
    isolates=True,
)
