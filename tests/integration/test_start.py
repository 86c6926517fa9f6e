"""What `consume` says when it cannot start: one sentence, without SQL."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import NullPool, create_engine, make_url, text

from tests.support.commands import Project
from tests.support.waiting import wait_until


@pytest.mark.parametrize(
    ("limit", "reason", "command"),
    [
        ("lock_timeout", "canceling statement due to lock timeout", ["consume", "--create-tables"]),
        ("lock_timeout", "canceling statement due to lock timeout", ["consume", "--workers", "0"]),
        ("statement_timeout", "canceling statement due to statement timeout", ["consume"]),
    ],
)
def test_a_table_that_is_locked_at_the_start_is_waited_for_and_told_in_a_sentence(
    project: Project, database_url: str, limit: str, reason: str, command: list[str]
) -> None:
    project.configure(guarantee="exactly-once")
    project.run("initdb")
    [options] = [make_url(database_url).query["options"]]
    project.configure_servers(database={"connect_args": {"options": f"{options} -c{limit}=200ms"}})
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.begin() as connection:
        for table in connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")):
            connection.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        with project.consuming(*command[1:]) as consumer:
            wait_until(lambda: reason in consumer.log(), "it says what it waits for")
            assert consumer.terminate() == 0
    assert "waiting for PostgreSQL" in consumer.log()
    assert "SELECT" not in consumer.log()
    assert "Traceback" not in consumer.log()


_TABLELESS = """
from sqlalchemy.orm import Mapped, mapped_column
from streamfea.model import Base

class Nowhere(Base):
    __tablename__ = "nowhere_yet"
    id: Mapped[int] = mapped_column(primary_key=True)

def process(dbsession, record):
    dbsession.add(Nowhere())
"""


def test_queues_that_cannot_work_keep_no_other_from_it_and_start_when_they_are_mended(
    project: Project, client: Redis, name: str, rows: Callable[[], list[int]], tmp_path: Path
) -> None:
    client.set(f"{name}:text", "no list")
    client.set(f"{name}:no-stream", "no stream")
    (tmp_path / "unfinished.py").write_text("import no_such_module\n")
    (tmp_path / "tableless.py").write_text(_TABLELESS)
    client.xadd(f"{name}:good", {"record": '{"n": 1}'})
    project.configure_queues(
        {
            "good": {"handler": "recorder", "stream": f"{name}:good"},
            "broken": {"handler": "recorder", "stream": f"{name}:no-stream"},
            "fed": {"handler": "recorder", "stream": f"{name}:fed", "legacy_list": f"{name}:text"},
            "unfinished": {"handler": "unfinished", "stream": f"{name}:unfinished"},
            "tableless": {"handler": "tableless", "stream": f"{name}:tableless"},
        }
    )
    told = "Error: queues.unfinished.handler: importing unfinished failed with ModuleNotFoundError: No module named"
    assert told in project.run("consume", "--strict", expect=2)
    assert rows() == []
    with project.consuming() as consumer:
        wait_until(lambda: rows() == [1], "the good queue works")
        said = [line for line in consumer.log().splitlines() if "this queue cannot work; the others go on" in line]
        assert [re.findall(r"queue=(\w+)", line)[-1] for line in said] == ["unfinished", "tableless", "broken", "fed"]
        assert "No module named 'no_such_module'" in said[0]
        assert "the database lacks table nowhere_yet: run `streamfea initdb`" in said[1]
        assert "WRONGTYPE" in said[2]
        assert "WRONGTYPE" in said[3]
        assert "a key is in use for something else" in said[3]
        (tmp_path / "unfinished.py").write_text("from recorder import process\n")
        client.delete(f"{name}:text", f"{name}:no-stream")
        client.xadd(f"{name}:unfinished", {"record": '{"n": 2}'})
        client.xadd(f"{name}:no-stream", {"record": '{"n": 3}'})
        client.lpush(f"{name}:text", '{"n": 4}')
        wait_until(lambda: sorted(rows()) == [1, 2, 3, 4], "what is mended works", seconds=60)
        assert consumer.log().count("this queue can work now") == 3
        assert len(re.findall("this queue cannot work.*tableless", consumer.log())) == 1
        assert consumer.terminate() == 0


def test_until_empty_does_what_it_can_and_exits_with_2_for_the_rest(
    project: Project, client: Redis, name: str, rows: Callable[[], list[int]]
) -> None:
    client.set(f"{name}:no-stream", "no stream")
    client.xadd(f"{name}:good", {"record": '{"n": 1}'})
    project.configure_queues(
        {
            "good": {"handler": "recorder", "stream": f"{name}:good"},
            "broken": {"handler": "recorder", "stream": f"{name}:no-stream"},
        }
    )
    assert "Error: redis, queue broken: WRONGTYPE" in project.run("consume", "--until-empty", expect=2)
    assert rows() == [1]
    assert "Error: redis, queue broken: WRONGTYPE" in project.run("consume", "broken", expect=2)


def test_a_queue_that_breaks_while_others_work_is_left_aside(
    project: Project, client: Redis, name: str, rows: Callable[[], list[int]]
) -> None:
    project.configure_queues(
        {
            "good": {"handler": "recorder", "stream": f"{name}:good"},
            "fed": {"handler": "recorder", "stream": f"{name}:fed", "legacy_list": f"{name}:list"},
        }
    )
    with project.consuming() as consumer:
        wait_until(lambda: consumer.log().count("consuming") == 2, "both work")
        client.set(f"{name}:list", "no list")
        wait_until(lambda: "this queue cannot work; the others go on" in consumer.log(), "it says so", seconds=30)
        client.xadd(f"{name}:good", {"record": '{"n": 1}'})
        wait_until(lambda: rows() == [1], "the good queue works")
        assert consumer.terminate() == 0
