"""The world of tests/fundamentals: a shop whose orders come on a stream and become rows."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import dedent, indent
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError
from sqlalchemy import NullPool, create_engine, text

from tests.support.commands import Consumer, Project
from tests.support.streams import letters, times_delivered

__all__ = ["Shop"]

# Every handler of a shop is this one, with some lines of a test's own before the row is added.
_HANDLER = """
import json
import os
import time
from pathlib import Path

from sqlalchemy import event, select, text
from sqlalchemy.orm import Mapped, mapped_column

from streamfea import Reject, Retry
from streamfea.model import Base


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(unique={unique})


def wait_for(name):
    while not Path(name).exists():
        time.sleep(0.01)


def is_first_time(name):
    try:
        Path(name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def process(dbsession, record):
    order = json.loads(record)
{lines}
    dbsession.add(Order(number=order["number"]))
"""


class Shop:
    """A folder with a handler and a configuration, a stream, and a database: one queue `q`."""

    def __init__(self, project: Project, client: Redis, database_url: str) -> None:
        self.project = project
        self.client: Any = client  # redis-py leaves the types of replies open
        self.stream = project.stream
        self._engine = create_engine(database_url, poolclass=NullPool)

    def open(self, lines: str = "pass", *, unique: bool = False, **keys: object) -> None:
        """Write a handler that does `lines` with each `order`, and the queue's settings; make the table."""
        source = _HANDLER.format(lines=indent(dedent(lines).strip(), "    "), unique=unique)
        (self.project.folder / "shop.py").write_text(source)
        self.project.configure("shop", **keys)
        self.run("initdb")

    def order(self, *numbers: int | None, text: str = "") -> None:
        """Put orders onto the stream, all at once."""
        with self.client.pipeline() as at_once:
            for number in numbers:
                at_once.xadd(self.stream, {"record": json.dumps({"number": number, "text": text})})
            at_once.execute()

    def run(self, *arguments: str, expect: int = 0) -> str:
        """Run `streamfea` with these arguments; return what it printed."""
        return self.project.run(*arguments, expect=expect, cwd=self.project.folder)

    def consume(self) -> None:
        """Run `streamfea consume` until nothing is left to do."""
        self.run("consume", "--until-empty")

    @contextmanager
    def consuming(self, *arguments: str, command: str = "consume") -> Iterator[Consumer]:
        """Run `streamfea consume` in the background."""
        with self.project.consuming(*arguments, command=command, cwd=self.project.folder) as consumer:
            yield consumer

    def rows(self) -> list[int]:
        """Return the numbers of the orders in the database, in the order in which they got there."""
        return self.query("SELECT number FROM orders ORDER BY id")

    def query(self, sql: str) -> list[Any]:
        """Return the first column of what PostgreSQL answers."""
        with self._engine.begin() as connection:
            result = connection.execute(text(sql))
            return list(result.scalars()) if result.returns_rows else []

    @contextmanager
    def no_commits(self) -> Iterator[None]:
        """Keep everybody from writing orders."""
        with self._engine.begin() as connection:
            connection.execute(text("LOCK TABLE orders IN SHARE MODE"))
            yield

    def on_stream(self) -> int:
        """Return how many entries the stream has."""
        return int(self.client.xlen(self.stream))

    def pending(self) -> int:
        """Return how many entries were delivered and are not acknowledged."""
        try:
            return int(self.client.xpending(self.stream, "streamfea")["pending"])
        except ResponseError:  # there is no group yet
            return 0

    def deliveries(self) -> int:
        """Return how often the oldest pending entry was delivered."""
        return times_delivered(self.client, self.project)

    def dead(self) -> list[tuple[str, str]]:
        """Return reason and error of each dead letter."""
        found = letters(self.client, self.project)
        return [(letter["streamfea-reason"], letter["streamfea-error"]) for letter in found]

    def let(self, name: str) -> None:
        """Have a handler go on that does `wait_for(name)`."""
        (self.project.folder / name).touch()
