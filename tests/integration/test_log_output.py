"""Where the log goes is no reason to stop work: pipes that nobody reads, full disks, closed descriptors."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis

from tests.support.commands import HANDLERS, Project
from tests.support.streams import add, nothing_is_left
from tests.support.waiting import wait_until

Rows = Callable[[], list[int]]

_HANDLER = """
import json, logging
from recorder import Seen
def process(dbsession, record):
    logging.getLogger("mine").warning("x" * 2000)
    print("y" * 2000)
    dbsession.add(Seen(number=json.loads(record)["n"], pid=0))
"""


@contextmanager
def consuming(project: Project, **streams: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `consume` with these streams, a handler that logs and prints a lot, and no file that could be written."""
    (project.folder / "talkative.py").write_text(_HANDLER)
    project.configure("talkative", block="500ms")
    environment = {**os.environ, "STREAMFEA_CONFIG": str(project.config), "PYTHONPATH": str(project.folder)}
    process = subprocess.Popen([sys.executable, "-m", "streamfea", "consume"], cwd=HANDLERS, env=environment, **streams)
    try:
        yield process
    finally:
        family: list[Any] = [*psutil.Process(process.pid).children(), process] if process.poll() is None else []
        for one in family:
            one.kill()
        process.wait()


def works_and_stops(project: Project, client: Redis, rows: Rows, process: "subprocess.Popen[bytes]") -> None:
    for start in (0, 100):
        add(client, project, *({"n": n} for n in range(start, start + 100)))
        wait_until(lambda least=start + 100: len(rows()) == least, "all are done", 60)  # type: ignore[misc]  # bound at once
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert rows() == list(range(200))
    assert nothing_is_left(client, project)


def test_a_pipe_that_nobody_reads_stops_nothing(project: Project, client: Redis, rows: Rows) -> None:
    reader, writer = os.pipe()
    with consuming(project, stdout=writer, stderr=writer) as process:
        works_and_stops(project, client, rows, process)
        assert os.get_blocking(writer), "the pipe is as its other users have it"
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        assert b"consuming" in file.read()


def test_a_pipe_whose_reader_has_gone_stops_nothing(project: Project, client: Redis, rows: Rows) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with consuming(project, stdout=writer, stderr=writer) as process:
        works_and_stops(project, client, rows, process)
    os.close(writer)


def test_a_full_disk_behind_the_log_stops_nothing(project: Project, client: Redis, rows: Rows) -> None:
    with Path("/dev/full").open("wb") as full, consuming(project, stdout=full, stderr=full) as process:
        works_and_stops(project, client, rows, process)


@pytest.mark.parametrize("closed", [[1], [2], [0, 1, 2]])
def test_closed_descriptors_stop_nothing(project: Project, client: Redis, rows: Rows, closed: list[int]) -> None:
    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    with consuming(project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=close) as process:
        works_and_stops(project, client, rows, process)


@pytest.mark.parametrize(("descriptor", "code"), [(">&-", 0), ("2>&-", 0)])
def test_commands_do_without_a_stream_that_is_closed(project: Project, descriptor: str, code: int) -> None:
    environment = {**os.environ, "STREAMFEA_CONFIG": str(project.config)}
    command = ["sh", "-c", f'"$0" -m streamfea status {descriptor}', sys.executable]
    result = subprocess.run(command, cwd=HANDLERS, env=environment, capture_output=True, check=False)
    assert result.returncode == code
    assert b"Traceback" not in result.stderr
    assert descriptor == ">&-" or b"q" in result.stdout


def test_the_log_tells_how_many_lines_it_lost(project: Project, client: Redis, rows: Rows) -> None:
    reader, writer = os.pipe()
    with consuming(project, stdout=subprocess.DEVNULL, stderr=writer) as process, os.fdopen(reader, "rb") as file:
        os.close(writer)
        add(client, project, *({"n": n} for n in range(100)))
        wait_until(lambda: len(rows()) == 100, "all are done", 60)
        read = os.read(file.fileno(), 1 << 20)
        assert read
        add(client, project, {"n": 100})
        wait_until(lambda: len(rows()) == 101, "the next is done")
        process.send_signal(signal.SIGTERM)
        rest = file.read().decode()
        assert process.wait(20) == 0
    assert "lines_lost=" in rest
    assert all(line[:2] in {"20", "xx"} or line == "" for line in rest.splitlines())


_OF_A_RECORD = """
import json, logging, threading, structlog
from recorder import Seen
def in_a_thread():
    logging.getLogger("mine").warning("in a thread")
def process(dbsession, record):
    logging.getLogger("mine").warning("by logging")
    structlog.get_logger("mine").warning("by structlog", entry="my own")
    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    number = json.loads(record)["n"]
    if number == 2 and dbsession.entry.deliveries == 1:
        raise ValueError("not yet")
    dbsession.add(Seen(number=number, pid=0))
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_what_a_handler_logs_says_of_which_record(
    project: Project, client: Redis, rows: Rows, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    (project.folder / "telling.py").write_text(_OF_A_RECORD)
    project.configure("telling", backoff="100ms")
    monkeypatch.setenv("STREAMFEA_LOG__FORMAT", "json")
    project.run("initdb")
    ids = [client.xadd(project.stream, {"record": json.dumps({"n": n})}).decode() for n in (1, 2)]  # type: ignore[union-attr]  # redis-py leaves the types of replies open
    with project.consuming("--until-empty", "--workers", workers) as consumer:
        assert consumer.process.wait(60) == 0
    lines = [json.loads(line) for line in consumer.log().splitlines()]
    mine = [line for line in lines if line["logger"] == "mine"]
    assert {(line["queue"], line["worker"]) for line in mine} == {("q", lines[0]["consumer"])}
    told = {(line["event"], line["entry"], line["delivery"]) for line in mine}
    assert told == {
        *((event, entry_id, 1) for event in ("by logging", "in a thread") for entry_id in ids),
        *((event, ids[1], 2) for event in ("by logging", "in a thread")),
        *(("by structlog", "my own", delivery) for delivery in (1, 2)),
    }
    assert not any("worker" in line for line in lines if line["logger"] != "mine")
    assert rows() == [1, 2]
