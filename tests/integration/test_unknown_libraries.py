"""Libraries of versions that streamfea was not tried with: it says so once, takes the plain way, and loses nothing."""

from collections.abc import Callable

import pytest
from redis import Redis

from tests.support.commands import Project
from tests.support.streams import add, letters, nothing_is_left

_UNKNOWN = """
from streamfea.database.connection import psycopg_internals
from streamfea.orm import internals
from streamfea.streams.connection import redis_internals
for known in internals, psycopg_internals, redis_internals:
    known.VERSIONS.look_at("99.0")
"""
_SAID = (
    "SQLAlchemy 99.0 is not known: every record gets a transaction of its own, without COPY",
    "psycopg 99.0 is not known: a connection that dies without an error is noticed late",
    "redis-py 99.0 is not known: long replies have no limit, and a socket that a handler closes is not noticed",
)


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_consume_says_so_once_and_commits_every_record(
    project: Project, client: Redis, rows: Callable[[], list[int]], guarantee: str
) -> None:
    project.configure(guarantee=guarantee, max_deliveries=1)
    project.run("initdb")
    add(client, project, *({"n": number} for number in range(50)), {"n": 50, "do": "fail"})
    with project.consuming("--until-empty", "--workers", "2", prelude=_UNKNOWN) as consumer:
        assert consumer.process.wait(60) == 0
    assert sorted(rows()) == list(range(50))
    assert len(letters(client, project)) == 1
    assert nothing_is_left(client, project)
    assert [consumer.log().count(text) for text in _SAID] == [1, 1, 1]


def test_check_says_so_with_a_remedy(project: Project) -> None:
    with project.consuming(command="check", prelude=_UNKNOWN) as check:
        assert check.process.wait(60) == 0
    printed = " ".join(check.log().split())
    assert [printed.count(text) for text in _SAID] == [1, 1, 1]
    assert "install SQLAlchemy 2.1.7 or later, below 2.2" in printed


def test_check_is_silent_about_libraries_that_are_known(project: Project) -> None:
    assert "is not known" not in project.run("check")
