"""Names of groups and consumers that are not UTF-8, which other clients may give: every command and the workers."""

import json
from collections.abc import Callable

from redis import Redis

from tests.support.commands import Project

_GROUP, _HOLDS, _IDLE = b"caf\xe9", b"web-\xff", b"gone-\xfe"
_SHOWN = r"web-\xff"


def add(client: Redis, project: Project, count: int) -> list[str]:
    return [client.xadd(project.stream, {"record": json.dumps({"n": number})}).decode() for number in range(count)]  # type: ignore[union-attr]  # redis-py leaves the types of replies open


def let_odd_names_in(client: Redis, project: Project, count: int) -> list[str]:
    """Have a consumer with an odd name hold entries, and be another's group there, and a consumer that is gone."""
    client.xgroup_create(project.stream, _GROUP, id="0", mkstream=True)
    client.xgroup_create(project.stream, "streamfea", id="0")
    client.xgroup_createconsumer(project.stream, "streamfea", _IDLE)
    ids = add(client, project, count)
    client.xreadgroup("streamfea", _HOLDS, {project.stream: ">"})  # type: ignore[arg-type]  # any bytes may be a name
    return ids


def test_every_command_shows_odd_names_and_means_their_bytes(project: Project, client: Redis) -> None:
    ids = let_odd_names_in(client, project, 4)
    assert project.json("status")[0]["consumers"] == 2
    assert {one["consumer"] for one in project.json("pending")} == {_SHOWN}
    assert _SHOWN in project.run("pending")
    assert [one["id"] for one in project.json("pending", "--consumer", "web-\udcff")] == ids
    assert _SHOWN in project.run("show", "q", ids[0])
    assert {one["name"] for one in project.json("consumers", "list")} == {_SHOWN, r"gone-\xfe"}
    assert r"gone-\xfe" in project.run("consumers", "list")
    project.run("reject", "q", ids[0])
    [letter] = project.json("dead", "list", "q")
    assert letter["consumer"] == _SHOWN
    assert _SHOWN in project.run("dead", "show", "q", ids[0])
    assert "1 entry is due now" in project.run("retry", "q", ids[1])
    assert _SHOWN in project.run("reset", "q", "--yes", expect=1)
    project.run("check")
    project.run("trim", "q")
    assert r"removed  gone-\xfe" in project.run("consumers", "prune", "--idle", "1ms")
    assert [one["name"] for one in client.xinfo_consumers(project.stream, "streamfea")] == [_HOLDS]
    project.run("reset", "q", "--yes", "--force")


def test_workers_take_over_from_odd_names_and_forget_them(
    project: Project, client: Redis, rows: Callable[[], list[int]]
) -> None:
    project.configure(claim_idle="100ms", retention="acked")
    let_odd_names_in(client, project, 3)
    client.xgroup_destroy(project.stream, _GROUP)
    with project.consuming("--until-empty") as consumer:
        assert consumer.process.wait(60) == 0
    assert sorted(rows()) == [0, 1, 2]
    assert client.xlen(project.stream) == 0


def test_a_worker_is_not_given_an_odd_name(lone: Project) -> None:
    assert "--name has to be UTF-8 text" in lone.run("consume", "--name", "web\udcff", expect=2)
