"""Replaying under fire: whatever dies, every dead letter is either dead or back, never both and never neither."""

import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from streamfea.embedded import ensure_valkey
from streamfea.streams.connection.keys import dead_letters_key
from tests.support.commands import Project
from tests.support.forked import forked, on_terminal, run
from tests.support.queues import ref_of
from tests.support.waiting import wait_until

_LETTERS = 10_000
_NULL = Path(os.devnull)

pytestmark = [pytest.mark.timeout(180), pytest.mark.flaky(reruns=0)]


def bury(client: Redis, project: Project, count: int = _LETTERS) -> None:
    key = dead_letters_key(ref_of(project.stream))
    origin: dict[Any, Any] = {
        "streamfea-reason": "failed",
        "streamfea-entry-id": "1-1",
        "streamfea-traceback": "frame\n" * 100,
    }
    for start in range(0, count, 1000):
        with client.pipeline(transaction=False) as pipeline:
            for number in range(start, min(start + 1000, count)):
                pipeline.xadd(key, {"record": number, **origin})
            pipeline.execute()


def records(client: Redis, key: str) -> list[int]:
    entries: Any = client.xrange(key)
    return [int(fields[b"record"]) for _, fields in entries]


def dead(client: Redis, project: Project) -> int:
    return int(client.xlen(dead_letters_key(ref_of(project.stream))))


def answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def assert_each_is_in_one_place(client: Redis, project: Project, count: int = _LETTERS) -> None:
    back, left = (
        records(client, project.stream),
        records(client, dead_letters_key(ref_of(project.stream))),
    )
    assert Counter(back) + Counter(left) == Counter(range(count))
    assert left == sorted(left)


@contextmanager
def replaying(project: Project, client: Redis, *, below: int) -> Iterator[BaseProcess]:
    """Replay everything; when the block begins, fewer than `below` letters are left."""
    err = project.folder / "stderr"
    with forked(project, "dead", "replay", "q", "--all", stdin=_NULL, out=_NULL, err=err) as process:
        wait_until(lambda: dead(client, project) < below, "letters are replayed")
        yield process


def test_replays_killed_again_and_again_leave_every_letter_dead_or_back(lone: Project, client: Redis) -> None:
    bury(client, lone)
    kills = 0
    while (left := dead(client, lone)) > _LETTERS // 10:
        with replaying(lone, client, below=left - random.randrange(left // 8)) as process:
            process.kill()
            process.join()
        kills += dead(client, lone) > 0
        assert_each_is_in_one_place(client, lone)
    assert kills
    run(lone, "dead", "replay", "q", "--all")
    assert sorted(records(client, lone.stream)) == list(range(_LETTERS))
    assert dead(client, lone) == 0


def test_two_replays_at_a_time_put_each_letter_back_once(lone: Project, client: Redis) -> None:
    bury(client, lone)
    with replaying(lone, client, below=_LETTERS) as first, replaying(lone, client, below=_LETTERS) as second:
        first.join()
        second.join()
        assert (first.exitcode, second.exitcode) == (0, 0)
    assert_each_is_in_one_place(client, lone)
    assert dead(client, lone) == 0


def test_a_server_killed_in_the_middle_has_every_letter_dead_or_back(tmp_path: Path, own_valkey: Path) -> None:
    url = ensure_valkey(own_valkey)
    project = Project(tmp_path, url, "postgresql+psycopg://nobody@127.0.0.1:1/nowhere", "s")
    with Redis.from_url(url, protocol=2) as client:
        bury(client, project, 3 * _LETTERS)
        with replaying(project, client, below=3 * _LETTERS) as process:
            server = int(client.info()["process_id"])
            os.kill(server, signal.SIGKILL)
            process.join()
        assert process.exitcode == 1
        assert " back on s, as far as Redis has answered" in (project.folder / "stderr").read_text()
    with Redis.from_url(ensure_valkey(own_valkey), protocol=2) as client:
        wait_until(lambda: answers(client), "the server has read its data")
        assert dead(client, project) > 0
        assert_each_is_in_one_place(client, project, 3 * _LETTERS)


def test_an_interrupted_replay_finishes_its_step_and_says_what_is_done(lone: Project, client: Redis) -> None:
    bury(client, lone, 3 * _LETTERS)
    with replaying(lone, client, below=3 * _LETTERS) as process:
        os.kill(process.pid or 0, signal.SIGINT)
        process.join()
    assert process.exitcode == 1
    told = (lone.folder / "stderr").read_text()
    back = client.xlen(lone.stream)
    assert told == f"Error: interrupted; {back:,} dead letters are back on {lone.stream}\n"
    assert dead(client, lone) == 3 * _LETTERS - back > 0


def test_what_takes_longer_shows_how_far_it_is(lone: Project, client: Redis) -> None:
    bury(client, lone, 3000)
    client.client_pause(4000, all=False)  # what writes has to wait
    shown = on_terminal(lone, "dead", "replay", "q", "--all")
    assert "replaying" in shown
    assert "/3000" in shown
    assert "3,000 dead letters are back" in shown
