"""Whether a worker lives is not told from a host name and a process id, which containers may share."""

import os
import socket

import pytest
from redis import Redis

from streamfea.core.origin import namespace, own_start
from streamfea.streams.connection.keys import name_lock_key
from streamfea.streams.consuming.name_lock import NameHolder
from streamfea.streams.operating.members import members
from streamfea.streams.operating.retry_and_reject import consumers_not_at_work
from tests.support.commands import Project
from tests.support.queues import NO_PROCESS, join, ref_of

_OTHER_NAMESPACE, _OTHER_START = "0123abcd", "1"


def name_in(where: str, pid: int, since: str) -> str:
    """Return the name of a worker on this host that was made in such a place."""
    return f"{socket.gethostname()}-{pid}-1-abcd{where}{since}"


def hold(client: Redis, project: Project, name: str, where: str, pid: int, since: str) -> None:
    """Have a live process keep the name."""
    holder = NameHolder(socket.gethostname(), pid, "00000000", where, started=since)
    client.set(name_lock_key(ref_of(project.stream), name), str(holder))


@pytest.fixture
def stream(project: Project, client: Redis) -> str:
    client.xgroup_create(project.stream, "streamfea", id="0", mkstream=True)
    return project.stream


def test_a_worker_in_another_namespace_of_the_same_host_lives_whatever_runs_here(
    project: Project, client: Redis, stream: str
) -> None:
    name = name_in(_OTHER_NAMESPACE, NO_PROCESS, _OTHER_START)
    join(client, stream, name, hold=1)
    hold(client, project, name, _OTHER_NAMESPACE, NO_PROCESS, _OTHER_START)
    [member] = project.json("consumers", "list")
    assert (member["alive"], member["pid"], member["namespace"]) == ("yes", NO_PROCESS, _OTHER_NAMESPACE)
    assert f"{NO_PROCESS} in {_OTHER_NAMESPACE}" in project.run("consumers", "list")
    assert consumers_not_at_work(client, ref_of(stream)) == []
    [entry] = project.json("pending")
    assert "0 entries are due now" in project.run("retry", "q", entry["id"], expect=1)


def test_an_idle_worker_in_another_namespace_is_not_pruned(project: Project, client: Redis, stream: str) -> None:
    name = name_in(_OTHER_NAMESPACE, NO_PROCESS, _OTHER_START)
    join(client, stream, name)
    hold(client, project, name, _OTHER_NAMESPACE, NO_PROCESS, _OTHER_START)
    assert "it is alive" in project.run("consumers", "prune", "--idle", "1ms")


def test_a_worker_of_another_namespace_that_fell_silent_is_not_certain_to_be_dead(
    project: Project, client: Redis, stream: str
) -> None:
    join(client, stream, name_in(_OTHER_NAMESPACE, NO_PROCESS, _OTHER_START), hold=1)
    assert [one.has_ended for one in members(client, ref_of(stream))] == [False]
    assert consumers_not_at_work(client, ref_of(stream)) == []  # it may be stopped, or cut off


def test_after_a_restart_in_place_the_dead_are_not_taken_for_who_has_their_process_ids(
    project: Project, client: Redis, stream: str
) -> None:
    dead = name_in(namespace(), os.getpid(), _OTHER_START)
    join(client, stream, dead, hold=1)
    hold(client, project, dead, namespace(), os.getpid(), _OTHER_START)
    live = name_in(namespace(), os.getpid(), own_start())
    join(client, stream, live)
    assert {one.name: one.alive for one in members(client, ref_of(stream))} == {dead: "no", live: "yes"}
    assert consumers_not_at_work(client, ref_of(stream)) == [dead]
    [entry] = project.json("pending")
    assert "1 entry is due now" in project.run("retry", "q", entry["id"])


def test_names_of_an_older_version_do_not_tell_who_is_certain_to_be_dead(
    project: Project, client: Redis, stream: str
) -> None:
    join(client, stream, f"{socket.gethostname()}-{NO_PROCESS}-1-abcd")
    heard = f"{socket.gethostname()}-{NO_PROCESS}-2-abcd"
    join(client, stream, heard)
    client.set(name_lock_key(ref_of(stream), heard), f"{socket.gethostname()} {NO_PROCESS} 00000000 4026531836")
    assert [one.has_ended for one in members(client, ref_of(stream))] == [False, False]
    assert consumers_not_at_work(client, ref_of(stream)) == []
