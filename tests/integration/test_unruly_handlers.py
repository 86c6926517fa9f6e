"""What a handler does to its process: it forks, takes over signals, changes what all of the process shares."""

import json
import signal
from collections.abc import Callable, Sequence

import psutil
import pytest
from redis import Redis

from tests.support.commands import Consumer, Project
from tests.support.streams import add, letters, nothing_is_left
from tests.support.waiting import wait_until

Rows = Callable[[], list[int]]

_FORKS = [
    "fork and exit", "fork and fail", "fork and return", "fork and add", "fork and query", "multiprocessing",
    "terminate a child",
]  # fmt: skip
_EXCEPTIONS = ["KeyboardInterrupt", "GeneratorExit", "SystemExit", "CancelledError", "BaseException"]
_CHANGES = ["socket.setdefaulttimeout", "close descriptors", "warnings.simplefilter", "gc.disable", "os.environ.clear",
            "threading.Thread"]  # fmt: skip

every_way = pytest.mark.parametrize("bulk", [True, False], ids=["COPY", "INSERT"])
both_guarantees = pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])


def set_up(project: Project, **keys: object) -> None:
    project.configure("unruly", max_deliveries=1, backoff="100ms", block="500ms", **keys)
    project.run("initdb")


def add_with(client: Redis, project: Project, deeds: Sequence[str], count: int = 200) -> None:
    """Add records; the deeds come in turns, one in a few records."""
    every = [{"n": n, "do": deeds[n // 5 % len(deeds)]} if n % 5 == 3 else {"n": n} for n in range(count)]
    add(client, project, *every)


@every_way
@both_guarantees
def test_a_process_that_a_handler_forks_ends_where_the_handler_ends(
    project: Project, client: Redis, rows: Rows, guarantee: str, bulk: bool
) -> None:
    set_up(project, guarantee=guarantee, bulk=bulk)
    add_with(client, project, _FORKS)
    with project.consuming("--until-empty") as consumer:
        assert consumer.process.wait(60) == 0, consumer.log()
    assert sorted(rows()) == list(range(200))
    assert letters(client, project) == []
    assert nothing_is_left(client, project)
    log = consumer.log()
    assert log.count("consuming queue=") == 1, "no worker died"
    assert "waiting for" not in log, "the parent does not notice"
    assert "ValueError: the child of a handler fails" in log


@both_guarantees
def test_a_record_forks_after_others_have_written(project: Project, client: Redis, rows: Rows, guarantee: str) -> None:
    set_up(project, guarantee=guarantee)
    add(client, project, *({"n": n} for n in range(20)), {"n": -1}, {"n": 21, "do": "fork and exit"}, {"n": 22})
    project.run("consume", "--until-empty")
    assert sorted(rows()) == [0, *range(20), 21, 22]


@every_way
@both_guarantees
def test_whatever_a_handler_raises_is_an_exception_of_its_record(
    project: Project, client: Redis, rows: Rows, guarantee: str, bulk: bool
) -> None:
    set_up(project, guarantee=guarantee, bulk=bulk)
    add_with(client, project, _EXCEPTIONS)
    with project.consuming("--until-empty") as consumer:
        assert consumer.process.wait(60) == 0, consumer.log()
    assert sorted(rows()) == [n for n in range(200) if n % 5 != 3]
    buried = [(one["streamfea-reason"], one["streamfea-error-type"]) for one in letters(client, project)]
    assert buried == [("failed", _EXCEPTIONS[n % len(_EXCEPTIONS)]) for n in range(40)]
    assert consumer.log().count("consuming queue=") == 1, "no worker died"


def stop_the_supervisor(consumer: Consumer) -> None:
    consumer.process.send_signal(signal.SIGTERM)


def stop_all(consumer: Consumer) -> None:
    """Tell every process, as systemd does."""
    for process in [*consumer.workers(), psutil.Process(consumer.process.pid)]:
        process.terminate()


@pytest.mark.parametrize("deed", ["handle SIGTERM", "ignore SIGTERM"])
@pytest.mark.parametrize("stop", [stop_the_supervisor, stop_all])
def test_a_handler_that_takes_over_sigterm_is_stopped_like_others(
    project: Project, client: Redis, rows: Rows, deed: str, stop: Callable[[Consumer], None]
) -> None:
    set_up(project, shutdown_timeout="10s")
    with project.consuming() as consumer:
        add(client, project, {"n": 0, "do": deed})
        wait_until(lambda: rows() == [0], "it is done")
        add(client, project, {"n": 1})
        wait_until(lambda: rows() == [0, 1] and nothing_is_left(client, project), "the next one is done")
        stop(consumer)
        assert consumer.process.wait(8) == 0, consumer.log()
    assert client.xinfo_consumers(project.stream, "streamfea") == [], "it has left the group"
    assert "died" not in consumer.log()


@both_guarantees
@pytest.mark.parametrize("deed", _CHANGES)
def test_what_a_handler_changes_for_its_whole_process_is_survived(
    project: Project, client: Redis, rows: Rows, deed: str, guarantee: str
) -> None:
    set_up(project, guarantee=guarantee, claim_idle="1s")
    project.configure("unruly", max_deliveries=5, backoff="100ms", block="500ms", claim_idle="1s", guarantee=guarantee)
    with project.consuming() as consumer:
        for start in (0, 100):
            add(
                client,
                project,
                *({"n": n, "do": deed} if n % 50 == 20 else {"n": n} for n in range(start, start + 100)),
            )
            wait_until(lambda least=start + 100: len(set(rows())) == least, "all are done")  # type: ignore[misc]  # bound at once
        assert consumer.terminate() == 0, consumer.log()
    assert letters(client, project) == []
    if guarantee == "exactly-once":
        assert sorted(rows()) == list(range(200))


def test_a_handler_that_forks_while_it_is_imported_makes_no_second_worker(
    project: Project, client: Redis, rows: Rows
) -> None:
    (project.folder / "forking.py").write_text("import os\nfrom recorder import *\nos.fork()\n")
    project.configure("forking")
    client.xadd(project.stream, {"record": json.dumps({"n": 1})})
    with project.consuming(
        "--until-empty", prelude=f"import sys; sys.path[:0] = [{str(project.folder)!r}]"
    ) as consumer:
        assert consumer.process.wait(30) == 0, consumer.log()
    assert rows() == [1]
    assert consumer.log().count("consuming queue=") == 1
