"""Servers that are not what a worker needs: commands are renamed, a Sentinel answers, a cluster has no slots."""

from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from tests.support.commands import Project
from tests.support.servers import redis_server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("error replies")


@pytest.fixture
def elsewhere(project: Project, tmp_path: Path) -> Callable[[int], Project]:
    """The project `project`, with another server as its Redis."""

    def on(port: int) -> Project:
        project.configure_servers({"url": f"redis://127.0.0.1:{port}/0"})
        return project

    return on


@pytest.mark.parametrize("command", ["EVALSHA", "XINFO", "XPENDING"])
def test_a_command_that_is_renamed_is_named(elsewhere: Callable[[int], Project], tmp_path: Path, command: str) -> None:
    with redis_server(tmp_path / "server", "--rename-command", command, "hidden") as port:
        project = elsewhere(port)
        told = project.run("consume", expect=2)
        assert f"renamed or forbidden: {command}:" in told
        assert "remove rename-command" in told
        assert f"renamed or forbidden: {command}" in project.run("check", expect=1)


def test_a_command_that_vanishes_while_working_is_told(elsewhere: Callable[[int], Project], tmp_path: Path) -> None:
    folder = tmp_path / "server"
    with redis_server(folder) as port:
        project = elsewhere(port)
        with project.consuming() as consumer:
            wait_until(lambda: "consuming" in consumer.log(), "it consumes")
            with Redis(port=port) as client:
                client.shutdown(nosave=True)
            with redis_server(folder, "--rename-command", "XREADGROUP", "hidden", port=port):
                assert consumer.process.wait(60) == 2
                assert "XREADGROUP" in consumer.log()
                assert "renamed or forbidden" in consumer.log()


def test_a_sentinel_is_told_from_a_redis(elsewhere: Callable[[int], Project], tmp_path: Path) -> None:
    with redis_server(tmp_path / "master") as master:
        config = tmp_path / "sentinel" / "sentinel.conf"
        config.parent.mkdir()
        config.write_text(f"sentinel monitor events 127.0.0.1 {master} 1\n")
        with redis_server(config.parent, "--sentinel", config=config) as port:
            project = elsewhere(port)
            expected = f"a Sentinel answers at redis.url, which watches events at 127.0.0.1:{master}"
            for told in (project.run("check", expect=1, columns=400), project.run("consume", expect=2)):
                assert expected in told
                assert "set redis.url to the host and port of the Redis that holds the stream" in told
            assert "a Sentinel?" in project.run("status", expect=1)


def test_a_cluster_without_slots_is_told_and_waited_for(
    elsewhere: Callable[[int], Project], tmp_path: Path, rows: Callable[[], list[int]]
) -> None:
    with redis_server(tmp_path / "node", "--cluster-enabled", "yes") as port:
        project = elsewhere(port)
        assert "no node serves" in project.run("status", expect=1, columns=400)
        with project.consuming() as consumer, Redis(port=port) as client:
            wait_until(lambda: "no node serves" in consumer.log(), "it says what it waits for")
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_until(lambda: "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO")), "it has slots")
            client.xadd(project.stream, {"record": '{"n": 1}'})
            wait_until(lambda: rows() == [1], "it goes on")
