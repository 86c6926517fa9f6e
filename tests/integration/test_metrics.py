"""Figures and health of a running `consume`, over HTTP and for systemd."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from redis import Redis

from streamfea.embedded import ensure_postgresql, ensure_valkey, stop
from tests.support.commands import Consumer, Project
from tests.support.promtool import promtool
from tests.support.scraping import get, scraped, verdict
from tests.support.servers import free_port
from tests.support.streams import add, letters, nothing_is_left
from tests.support.waiting import wait_until

Rows = Callable[[], list[int]]


@pytest.fixture
def port(project: Project) -> int:
    port = free_port()
    project.configure_metrics(f"127.0.0.1:{port}")
    return port


def test_what_the_workers_do_is_counted(project: Project, client: Redis, port: int) -> None:
    project.configure(max_deliveries=2, backoff="100ms", guarantee="exactly-once", workers=2)
    project.run("initdb")
    add(client, project, *({"n": number} for number in range(30)), {"n": 30, "do": "fail"}, {"n": 31, "do": "reject"})
    with project.consuming():
        wait_until(lambda: verdict(port, "/readyz") == (200, []), "the workers are ready")
        wait_until(lambda: len(letters(client, project)) == 2 and nothing_is_left(client, project), "all is settled")
        figures = scraped(port)
    assert figures["streamfea_records_done_total", "q"] == 30
    assert figures["streamfea_records_failed_total", "q"] == 2
    assert figures["streamfea_records_rejected_total", "q"] == 1
    assert figures["streamfea_records_retried_total", "q"] == 1
    assert figures["streamfea_dead_letters_total", "q", "failed"] == 1
    assert figures["streamfea_dead_letters_total", "q", "rejected"] == 1
    assert figures["streamfea_latency_seconds_count", "q"] == 30
    assert figures["streamfea_batch_records_sum", "q"] == 33
    assert figures["streamfea_worker_starts_total", "q"] == figures["streamfea_workers_ready", "q"] == 2
    transactions = figures["streamfea_batch_records_count", "q"]
    for part in ("handler", "write", "commit", "acknowledge"):
        assert figures[f"streamfea_{part}_seconds_count", "q"] == transactions
        assert 0 <= figures[f"streamfea_{part}_seconds_sum", "q"] < 60
    assert figures["streamfea_handler_seconds_sum", "q"] > 0
    assert figures["streamfea_commit_seconds_sum", "q"] > 0


def test_no_counter_goes_back_when_workers_are_killed(project: Project, client: Redis, rows: Rows, port: int) -> None:
    project.run("initdb")
    with project.consuming() as consumer:
        wait_until(lambda: verdict(port, "/readyz") == (200, []), "the worker is ready")
        seen: dict[tuple[str, ...], float] = {}
        for number in range(3):
            add(client, project, {"n": number})
            wait_until(lambda number=number: len(rows()) == number + 1, "it is done")  # type: ignore[misc]
            [pid] = {worker.pid for worker in consumer.workers()} - {_server(consumer)}
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: not _lives(consumer, pid), "it is dead")  # type: ignore[misc]
            figures = scraped(port)
            for name, value in seen.items():
                assert figures[name] >= value or not name[0].endswith(("_total", "_count", "_bucket", "_sum")), name
            seen = figures
        wait_until(lambda: scraped(port)["streamfea_worker_crashes_total", "q"] == 3, "all crashes are counted")
        assert scraped(port)["streamfea_records_done_total", "q"] == 3


def test_the_process_that_serves_them_is_replaced(project: Project, port: int) -> None:
    project.run("initdb")
    with project.consuming() as consumer:
        wait_until(lambda: verdict(port, "/readyz") == (200, []), "the worker is ready")
        os.kill(_server(consumer), signal.SIGKILL)
        wait_until(lambda: "the process that serves metrics died" in consumer.log(), "it is noticed")
        wait_until(lambda: verdict(port, "/readyz") == (200, []), "another answers")
        assert consumer.terminate() == 0


def test_a_client_that_stalls_keeps_nobody_waiting(project: Project, client: Redis, rows: Rows, port: int) -> None:
    project.run("initdb")
    with project.consuming() as consumer:
        wait_until(lambda: verdict(port, "/readyz") == (200, []), "the worker is ready")
        stalled = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
        for connection in stalled:
            connection.sendall(b"GET /metrics HTTP/1.1\r\n")
        add(client, project, {"n": 1})
        wait_until(lambda: rows() == [1], "work goes on")
        assert scraped(port)["streamfea_records_done_total", "q"] == 1
        assert consumer.terminate() == 0
        for connection in stalled:
            connection.close()


def test_who_asks_for_openmetrics_gets_it_and_other_paths_say_which_there_are(project: Project, port: int) -> None:
    project.run("initdb")
    with project.consuming():
        wait_until(lambda: verdict(port, "/healthz") == (200, []), "it answers")
        _, content_type, body = get(port, "/metrics", "application/openmetrics-text; version=1.0.0")
        assert content_type.startswith("application/openmetrics-text")
        assert "streamfea_records_done" in {family.name for family in openmetrics_families(body)}  # type: ignore[no-untyped-call]
        assert get(port, "/")[::2] == (404, "there is /metrics, /healthz, /readyz\n")


def test_an_address_that_is_taken_is_said_at_the_start(project: Project, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        said = project.run("consume", expect=2)
    assert f"metrics.listen: cannot listen at 127.0.0.1:{port}: Address already in use" in said
    project.configure_metrics("9090")
    assert "metrics.listen" in project.run("consume", expect=2)


def test_a_worker_in_this_process_shows_its_figures_too(project: Project, client: Redis, port: int) -> None:
    project.run("initdb")
    add(client, project, {"n": 1})
    with project.consuming("--workers", "0") as consumer:
        wait_until(lambda: verdict(port, "/readyz") == (200, []), "it is ready")
        wait_until(lambda: scraped(port)["streamfea_records_done_total", "q"] == 1, "it is counted")
        assert consumer.terminate() == 0


def test_an_outage_fails_readiness_and_a_busy_handler_neither(
    tmp_path: Path, own_valkey: Path, own_postgresql: Path
) -> None:
    redis_url, database_url = ensure_valkey(own_valkey), ensure_postgresql(own_postgresql)
    project = Project(tmp_path / "project", redis_url, database_url, "s")
    port = free_port()
    project.configure_metrics(f"127.0.0.1:{port}")
    project.run("initdb")
    with project.consuming() as consumer, Redis.from_url(redis_url) as client:
        wait_until(lambda: verdict(port, "/readyz") == (200, []), "the worker is ready")
        add(client, project, {"n": 1, "do": "slow", "seconds": 1})
        wait_until(lambda: client.xpending("s", "streamfea")["pending"] == 1, "the record runs")
        assert verdict(port, "/healthz") == verdict(port, "/readyz") == (200, [])
        stop(own_postgresql)
        wait_until(lambda: verdict(port, "/readyz")[0] == 503, "nobody is ready without PostgreSQL")
        assert any("PostgreSQL" in problem for problem in verdict(port, "/readyz")[1])
        assert verdict(port, "/healthz") == (200, [])
        wait_until(lambda: scraped(port)["streamfea_outages_total", "q", "postgresql"] == 1, "the wait is counted")
        ensure_postgresql(own_postgresql)
        wait_until(lambda: verdict(port, "/readyz") == (200, []), "it is ready again")
        stop(own_valkey)
        wait_until(lambda: verdict(port, "/readyz")[0] == 503, "nobody is ready without Redis")
        assert verdict(port, "/healthz") == (200, [])
        ensure_valkey(own_valkey)
        wait_until(lambda: verdict(port, "/readyz") == (200, []), "it is ready again")
        assert scraped(port)["streamfea_outage_seconds_total", "q", "redis"] > 0
        assert consumer.terminate() == 0


_IMPATIENT = "import streamfea.observe.health as health; health._STILL_AT_MOST_SECONDS = 1.0"


def test_a_worker_that_stands_still_is_said_to_be_ill(project: Project, port: int) -> None:
    project.run("initdb")
    with project.consuming(prelude=_IMPATIENT) as consumer:
        wait_until(lambda: verdict(port, "/readyz") == (200, []), "the worker is ready")
        [worker] = [one for one in consumer.workers() if one.pid != _server(consumer)]
        worker.send_signal(signal.SIGSTOP)
        wait_until(lambda: verdict(port, "/healthz")[0] == 503, "it is noticed")
        [problem] = verdict(port, "/healthz")[1]
        assert re.fullmatch(r"queue q: a worker has not moved for \d+ s; `streamfea status q` says why", problem)
        worker.send_signal(signal.SIGCONT)
        wait_until(lambda: verdict(port, "/healthz") == (200, []), "it is well again")
        assert consumer.terminate() == 0


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """A socket as systemd gives one, and what has been sent to it so far."""
    told: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")

        def receive() -> list[str]:
            while True:
                try:
                    told.append(receiver.recv(65_536).decode())
                except BlockingIOError:
                    return told

        yield receive


def test_systemd_is_told_when_the_workers_are_ready_well_and_ending(
    project: Project, systemd: Callable[[], list[str]]
) -> None:
    project.run("initdb")
    with project.consuming() as consumer:
        wait_until(lambda: "STATUS=every worker is ready" in systemd(), "it is ready")
        assert systemd().index("READY=1") > systemd().index(
            "STATUS=queue q: 0 of 1 workers are ready; the log says why"
        )
        before = systemd().count("WATCHDOG=1")
        wait_until(lambda: systemd().count("WATCHDOG=1") > before + 1, "the watchdog is fed")
        assert consumer.terminate() == 0
    assert systemd()[-1] == "STOPPING=1"


@pytest.mark.xdist_group("promtool")
def test_promtool_finds_nothing_to_complain_of(project: Project, port: int) -> None:
    project.run("initdb")
    with project.consuming():
        wait_until(lambda: verdict(port, "/readyz") == (200, []), "the worker is ready")
        _, _, body = get(port, "/metrics")
    checked = subprocess.run([promtool(), "check", "metrics"], input=body, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def _server(consumer: Consumer) -> int:
    """Return the process that serves the figures: the one that listens."""
    return next(
        worker.pid
        for worker in consumer.workers()
        if any(one.status == "LISTEN" for one in worker.net_connections("tcp"))
    )


def _lives(consumer: Consumer, pid: int) -> bool:
    return pid in {worker.pid for worker in consumer.workers()}
