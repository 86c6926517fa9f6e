"""What people see and type at a terminal: figures that move, reasons in words, questions, folders of their own."""

import json
import os
import pty
import re
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from redis import Redis
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from streamfea.embedded import ensure_postgresql, ensure_valkey, server_pid, stop
from streamfea.processes.complaints import complaint
from tests.support.commands import Consumer, Project
from tests.support.forked import forked
from tests.support.places import Place
from tests.support.waiting import wait_until

_GATED = """
import json, time
from pathlib import Path
from sqlalchemy import text

def process(dbsession, record):
    dbsession.execute(text("SELECT 1"))
    Path("begun").touch()
    while not Path("go-on").exists():
        time.sleep(0.01)
    dbsession.execute(text("SELECT 1"))
"""
_ROWS = """
from sqlalchemy.orm import Mapped, mapped_column
from streamfea.model import Base

class Row(Base):
    __tablename__ = "typed_row"
    id: Mapped[int] = mapped_column(primary_key=True)

def process(dbsession, record):
    dbsession.add(Row())
"""
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@contextmanager
def terminal() -> Iterator[tuple[Path, Callable[[], str]]]:
    """Yield the path of a terminal, and what returns all that it was sent so far, without colours."""
    reader, end = pty.openpty()
    sent = bytearray()

    def read() -> str:
        while select.select([reader], [], [], 0)[0]:
            sent.extend(os.read(reader, 65536))
        return _COLOURS.sub("", sent.decode())

    try:
        yield Path(os.ttyname(end)), read
    finally:
        os.close(reader)
        os.close(end)


def test_a_watched_status_has_a_clock_and_rates_and_ends_with_ctrl_c(lone: Project, client: Redis) -> None:
    untyped: Any = client  # redis-py leaves the types of replies open
    client.xgroup_create(lone.stream, "streamfea", id="0", mkstream=True)
    client.xadd(lone.stream, {"record": "the first, from which on Redis counts what was read"})
    untyped.xreadgroup("streamfea", "somebody", {lone.stream: ">"}, noack=True)
    with (
        terminal() as (name, shown),
        forked(
            lone, "status", "--watch", stdin=name, out=name, err=name, TERM="xterm-256color", COLUMNS="100"
        ) as watch,
    ):
        wait_until(lambda: re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, every 2 s; Ctrl-C ends", shown()), "a clock")
        for number in range(400):
            client.xadd(lone.stream, {"record": str(number)})
        untyped.xreadgroup("streamfea", "somebody", {lone.stream: ">"}, count=400, noack=True)
        wait_until(lambda: re.search(r"done/s.*\nq +401 .* (1[0-9][0-9]|200) *[\r\n]", shown()), "a rate of some 200/s")
        assert watch.pid is not None
        os.kill(watch.pid, signal.SIGINT)
        watch.join(10)
        assert watch.exitcode == 0
        assert "Traceback" not in shown()


def test_a_drop_of_many_rows_wants_the_queues_name(place: Place) -> None:
    place.handler(_ROWS)
    place.run("initdb")

    def count() -> object:
        return place.rows("SELECT count(*) FROM typed_row")[0]

    def reset(answer: bytes, expect: int) -> str:
        return place.project.run("reset", "q", stdin=answer, expect=expect, cwd=place.project.folder)

    with place.engine.begin() as connection:
        connection.execute(text("INSERT INTO typed_row SELECT generate_series(1, 1000)"))
    assert "Drop 1,000 rows of typed_row" in reset(b"y\n", 1)
    assert "Type the queue's name" in reset(b"queue\n", 1)
    assert count() == (1000,)
    assert "Dropped 1,000 rows" in reset(b"q\n", 0)
    assert count() == (0,)
    with place.engine.begin() as connection:
        connection.execute(text("INSERT INTO typed_row VALUES (1)"))
    assert "Dropped 1 rows" in reset(b"y\n", 0)


def test_a_postgresql_that_is_killed_is_told_in_the_words_of_the_first_error(
    tmp_path: Path, own_valkey: Path, own_postgresql: Path
) -> None:
    with consuming_gated(tmp_path, own_valkey, own_postgresql) as consumer:
        pid = server_pid(own_postgresql)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        (tmp_path / "go-on").touch()
        reason = told_of(consumer, "PostgreSQL")
        assert re.search(
            "server closed the connection|terminating connection|consuming input failed|connection", reason
        )
        assert consumer.terminate() == 0
    for words in ("Can't reconnect", "RetryError", "<Future", "PostgreSQL is back", "Traceback"):
        assert words not in consumer.log()


def test_a_redis_that_is_away_at_ctrl_c_is_not_said_to_be_back(
    tmp_path: Path, own_valkey: Path, own_postgresql: Path
) -> None:
    with consuming_gated(tmp_path, own_valkey, own_postgresql) as consumer:
        stop(own_valkey)
        (tmp_path / "go-on").touch()
        assert "Connection closed by server" in told_of(consumer, "Redis")
        consumer.process.send_signal(signal.SIGINT)
        assert consumer.process.wait(30) == 0
    for words in ("RetryError", "<Future", "Redis is back", "Traceback"):
        assert words not in consumer.log()


def test_what_a_configuration_names_is_beside_it_wherever_the_command_is_run(tmp_path: Path) -> None:
    folder = tmp_path / "a folder with spaces"
    (folder / "var").mkdir(parents=True)
    (folder / "beside.py").write_text(_ROWS)
    settings = {
        "redis": {"url": "embedded:var/the valkey"},
        "database": {"url": "embedded:var/the postgresql"},
        "queues": {"q": {"handler": "beside", "stream": "s"}},
    }
    config = folder / "streamfea.toml"
    config.write_text(tomli_w.dumps(settings))
    elsewhere = Project(tmp_path / "elsewhere", "redis://nowhere", "postgresql+psycopg://nowhere/none", "s")

    def run(*arguments: str, stdin: bytes = b"") -> str:
        return elsewhere.run(*arguments, "--config", str(config), stdin=stdin, cwd=elsewhere.folder)

    try:
        run("produce", "q", stdin=b"{}\n{}\n")
        run("consume", "--until-empty", "--create-tables")
        engine = create_engine(ensure_postgresql(folder / "var" / "the postgresql"))
        with engine.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM typed_row")).scalar_one() == 2
        engine.dispose()
        assert json.loads(run("status", "--json"))[0]["lag"] == 0
        assert sorted(one.name for one in elsewhere.folder.iterdir()) == ["streamfea.toml"]
    finally:
        stop(folder / "var" / "the valkey")
        stop(folder / "var" / "the postgresql")


@pytest.mark.parametrize(
    ("statements", "first"),
    [
        (["PREPARE twice AS SELECT 1", "PREPARE twice AS SELECT 1"], 'prepared statement "twice" already exists'),
        (["EXECUTE nowhere"], 'prepared statement "nowhere" does not exist'),
    ],
)
def test_a_prepared_statement_in_anothers_way_is_told_with_the_remedy(
    engine: Engine, statements: list[str], first: str
) -> None:
    def run() -> None:
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))

    with pytest.raises(DBAPIError) as error:
        run()
    assert str(complaint(error.value)) == (
        f"PostgreSQL: {first}: a pooler shares connections between clients; give streamfea a session of its own"
    )


@contextmanager
def consuming_gated(folder: Path, redis: Path, postgresql: Path) -> Iterator[Consumer]:
    """Run `consume` with one record, whose handler has sent SQL and waits for the file `go-on` to send more."""
    project = Project(folder, ensure_valkey(redis), ensure_postgresql(postgresql), "gated")
    (folder / "gated.py").write_text(_GATED)
    project.configure("gated", shutdown_timeout="5s")
    project.run("produce", "q", stdin=b"{}\n", cwd=folder)
    with project.consuming(cwd=folder) as consumer:
        wait_until((folder / "begun").exists, "the record runs")
        yield consumer


def told_of(consumer: Consumer, server: str) -> str:
    """Return the line that says that a server is waited for."""
    wait_until(lambda: f"waiting for {server}" in consumer.log(), "it says so")
    return next(line for line in consumer.log().splitlines() if f"waiting for {server}" in line)
