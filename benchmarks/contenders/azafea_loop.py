"""Azafea's loop: pop a record from a list, process it in a session of its own, commit; lost if we die in between.

The handler is the seed's. On an error, Azafea pushes the record to a list of errors; nothing fails here.
"""

import json
import sys
from importlib import import_module
from typing import Any, get_type_hints

from redis import Redis
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.contenders.contender import Contender, database_url, redis_url

_LIST = "records"


def _fill(client: Redis, records: list[bytes]) -> None:
    client.set("filled", len(records))
    for start in range(0, len(records), 1000):
        client.lpush(_LIST, *records[start : start + 1000])


def _popped(client: Redis) -> int:
    return int(client.get("filled") or 0) - client.llen(_LIST)


def contender(name: str, handler: str, table: str) -> Contender:
    """Return one that runs the `process()` of a handler."""
    command = ("-m", "benchmarks.contenders.azafea_loop", handler)
    return Contender(name, command, _fill, _popped, commits_each=True, isolates=True, table=table)


CONTENDER = contender("Azafea's loop: pop, process, commit", "handlers_example.events", "my_event")


def run(process: Any) -> None:
    """Work off the list for ever."""
    client = Redis.from_url(redis_url(), protocol=2)
    sessions = sessionmaker(create_engine(database_url()), class_=Session)
    while True:
        popped: Any = client.brpop([_LIST])
        session = sessions()
        try:
            process(session, popped[1])
            session.commit()
        except BaseException:
            session.rollback()
            raise
        finally:
            session.close()


def on_bytes(process: Any) -> Any:
    """Return what takes a record as Azafea gives it, also of a handler that wants it decoded."""
    if get_type_hints(process)["record"] is bytes:
        return process
    return lambda session, record: process(session, json.loads(record))


if __name__ == "__main__":
    run(on_bytes(import_module(sys.argv[1]).process))
