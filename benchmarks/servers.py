"""The servers that are measured against, and what is put on them."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from sqlalchemy import Engine, create_engine, text

CONFIG = """\
[redis]
url = "{redis}"
[database]
url = "{database}"
[log]
level = "error"
[queues.events]
handler = "handlers_example.events"
max_deliveries = 1
"""


@dataclass(slots=True)
class Servers:
    """Addresses of a Redis and a PostgreSQL, and a folder for configuration."""

    redis_url: str
    database_url: str
    folder: Path

    def client(self) -> Redis:
        """Return a client."""
        return Redis.from_url(self.redis_url, protocol=2)

    def engine(self) -> Engine:
        """Return an engine."""
        return create_engine(self.database_url)

    def config(self) -> Path:
        """Write the configuration, and return where."""
        path = self.folder / "streamfea.toml"
        path.write_text(CONFIG.format(redis=self.redis_url, database=self.database_url))
        return path

    def empty(self) -> None:
        """Start from nothing: no keys, an empty table with its indexes, a fresh checkpoint."""
        with self.client() as client:
            client.flushall()
        engine = self.engine()
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS my_event"))
        engine.dispose()
        subprocess.run(
            [sys.executable, "-m", "streamfea", "initdb", "-c", str(self.config())], check=True, capture_output=True
        )
        engine = self.engine()
        with engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("CHECKPOINT"))
        engine.dispose()

    def rows(self) -> int:
        """Return how many rows the handler has written."""
        engine = self.engine()
        with engine.connect() as connection:
            rows = int(connection.execute(text("SELECT count(*) FROM my_event")).scalar_one())
        engine.dispose()
        return rows

    def consume(self, workers: int = 1) -> float:
        """Run `streamfea consume --until-empty`; return the seconds it took, start of the interpreter included."""
        command = [sys.executable, "-m", "streamfea", "consume", "--until-empty", "--workers", str(workers)]
        started = time.perf_counter()
        subprocess.run([*command, "-c", str(self.config())], check=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
        return time.perf_counter() - started


def record(number: int, *, spoiled: bool = False) -> bytes:
    """Return a record of the seed's handler; a spoiled one lacks the name, which must not be NULL."""
    fields = {"name": f"event number {number}", "timestamp": "2026-01-31T12:34:56.789Z"}
    if spoiled:
        del fields["name"]
    return json.dumps(fields).encode()


def fill_stream(client: Redis, count: int, *, spoiled_every: int = 0) -> None:
    """Put records on the stream `events`."""
    for start in range(0, count, 1000):
        with client.pipeline(transaction=False) as pipeline:
            for number in range(start, min(start + 1000, count)):
                spoiled = bool(spoiled_every) and number % spoiled_every == spoiled_every // 2
                pipeline.xadd("events", {"record": record(number, spoiled=spoiled)})
            pipeline.execute()


def fill_list(client: Redis, count: int) -> None:
    """Push records to the list `legacy`, as producers of lists do."""
    for start in range(0, count, 1000):
        client.lpush("legacy", *(record(number) for number in range(start, min(start + 1000, count))))
