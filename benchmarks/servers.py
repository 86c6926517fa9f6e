"""The servers that are measured against, and what is put on them."""

import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from sqlalchemy import Engine, create_engine, inspect, text

from streamfea.embedded import ensure_postgresql, ensure_valkey, server_pid, stop

FLIGHTS = Path(__file__).parents[1] / "handlers_example" / "flights.jsonl.gz"

_CONFIG = """\
[redis]
url = "{redis}"
[database]
url = "{database}"
[log]
level = "error"
[consumer]
max_deliveries = 1
[queues.events]
handler = "handlers_example.events"
[queues.once]
handler = "handlers_example.events"
guarantee = "exactly-once"
[queues.batch]
handler = "benchmarks.handlers.batch"
[queues.flights]
handler = "handlers_example.flights"
[queues.airlines]
handler = "benchmarks.handlers.airlines"
[queues.spoiled]
handler = "benchmarks.handlers.spoiled"
[queues.slow]
handler = "benchmarks.handlers.slow"
"""


@dataclass(slots=True)
class Servers:
    """Addresses of a Redis and a PostgreSQL that nobody else uses, the latter's process, and a folder for files."""

    redis_url: str
    database_url: str
    postmaster: int
    folder: Path

    def client(self) -> Redis:
        """Return a client."""
        return Redis.from_url(self.redis_url, protocol=2)

    def engine(self) -> Engine:
        """Return an engine."""
        return create_engine(self.database_url)

    @property
    def config(self) -> Path:
        """The configuration that has a queue for everything that is measured."""
        return self.folder / "streamfea.toml"

    def environment(self) -> dict[str, str]:
        """Return what processes that are measured get: the addresses, and no warnings."""
        return {**os.environ, **self._addresses(), "PYTHONWARNINGS": "ignore"}

    def prepare(self) -> None:
        """Write the configuration, create the tables, and let contenders know the addresses."""
        self.config.write_text(_CONFIG.format(redis=self.redis_url, database=self.database_url))
        os.environ.update(self._addresses())
        subprocess.run([sys.executable, "-m", "streamfea", "initdb", "-c", str(self.config)], check=True)

    def empty(self) -> None:
        """Start from nothing: no keys, empty tables and indexes, a fresh checkpoint."""
        with self.client() as client:
            client.flushall()
        engine = self.engine()
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            tables = ", ".join(inspect(connection).get_table_names())
            connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY"))
            connection.execute(text("CHECKPOINT"))
        engine.dispose()

    def rows(self, table: str = "my_event") -> int:
        """Return how many rows a table has."""
        engine = self.engine()
        with engine.connect() as connection:
            rows = int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())
        engine.dispose()
        return rows

    def version(self) -> str:
        """Return the versions of both."""
        with self.client() as client:
            info = client.info("server")
        engine = self.engine()
        with engine.connect() as connection:
            postgresql = connection.execute(text("SHOW server_version")).scalar_one()
            fsync = connection.execute(text("SHOW fsync")).scalar_one()
        engine.dispose()
        redis = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
        return f"{redis} with appendfsync everysec, PostgreSQL {postgresql} with fsync {fsync}"

    def _addresses(self) -> dict[str, str]:
        return {
            "BENCHMARK_REDIS_URL": self.redis_url,
            "BENCHMARK_DATABASE_URL": self.database_url,
            "BENCHMARK_CONFIG": str(self.config),
        }


@contextmanager
def running_servers() -> Iterator[Servers]:
    """Start servers in a temporary folder, and stop them."""
    with tempfile.TemporaryDirectory(prefix="streamfea-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        valkey, postgresql = folder / "valkey", folder / "postgresql"
        try:
            urls = ensure_valkey(valkey), ensure_postgresql(postgresql)
            servers = Servers(*urls, server_pid(postgresql) or 0, folder)
            servers.prepare()
            yield servers
        finally:
            stop(valkey)
            stop(postgresql)


def events(count: int, spoiled_every: int = 0) -> list[bytes]:
    """Return records of the seed's handler; a spoiled one lacks the name, which must not be NULL."""
    records = []
    for number in range(count):
        fields = {"name": f"event number {number}", "timestamp": "2026-01-31T12:34:56.789Z"}
        if spoiled_every and number % spoiled_every == spoiled_every // 2:
            del fields["name"]
        records.append(json.dumps(fields).encode())
    return records


def flights(count: int) -> list[bytes]:
    """Return real flights, of which there are 19,811."""
    with gzip.open(FLIGHTS) as file:
        return [line.rstrip() for line in file][:count]
