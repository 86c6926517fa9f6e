"""The whole job with the permissions that docs/security.md lists, and nothing else."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import create_engine, make_url, text

from streamfea.embedded import ensure_valkey
from streamfea.streams.connection.keys import dead_letters_key, errors_key
from tests.support.commands import Project
from tests.support.queues import ref_of

_PAGE = Path(__file__).parents[2] / "docs" / "security.md"
# Needed only after a reply was lost, when entries are acknowledged behind one that stays pending, when a list stays
# empty for a while, and to bury entries of thousands of fields.
_RARELY = {"hmget", "xdel", "blmove", "multi", "exec"}

Rows = Callable[[], list[int]]


def blocks(language: str) -> list[str]:
    """Return what the page says is needed, block by block."""
    return re.findall(rf"```{language}\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)


def granted() -> list[list[str]]:
    """Return the rules of the user for workers, what lists need more, and what operators need more."""
    return [block.split()[3:] for block in blocks("text")]


@pytest.fixture
def admin(own_valkey: Path) -> Iterator[Any]:
    """Someone who may do everything on a Redis of the test's own."""
    with Redis.from_url(ensure_valkey(own_valkey), protocol=2) as client:
        yield client


@pytest.fixture
def role(database_url: str, name: str) -> Iterator[str]:
    """A role that may log in and, so far, nothing else."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'"))
    yield name
    with engine.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {name}"))
        connection.execute(text(f"DROP ROLE {name}"))
    engine.dispose()


@pytest.fixture
def weak(tmp_path: Path, own_valkey: Path, admin: Any, database_url: str, role: str) -> Project:
    """A project with tables, a list and streams, for the user and the role of the page."""
    names = {"STREAM": "events", "{STREAM}:*": "{events}:*", "LIST": "events-list", "ERRORS": "events-errors"}
    rules = [rule for block in granted()[:2] for rule in block]
    rules = [rule[0] + names.get(rule[1:], rule[1:]) for rule in rules]
    admin.execute_command("ACL", "SETUSER", "streamfea", *rules)
    project = Project(tmp_path, ensure_valkey(own_valkey), database_url, "events")
    project.configure(
        stream="events", legacy_list="{events}:list", guarantee="exactly-once", max_deliveries=2, backoff="100ms"
    )
    project.run("initdb")
    engine = create_engine(database_url)
    with engine.begin() as connection:
        for block in blocks("sql"):
            statements = block.replace("my_schema", role_schema(database_url)).replace("my_table", "seen")
            connection.execute(text(re.sub(r"\bstreamfea;", f"{role};", statements)))
    engine.dispose()
    url = make_url(database_url).set(username=role, password=role).render_as_string(hide_password=False)
    project.configure_servers(redis={"username": "streamfea", "password": "PASSWORD"}, database={"url": url})
    return project


def role_schema(database_url: str) -> str:
    return str(make_url(database_url).query["options"]).removeprefix("-csearch_path=")


def test_consuming_needs_what_the_page_says_and_no_more(weak: Project, admin: Any, rows: Rows) -> None:
    admin.config_resetstat()
    admin.lpush("{events}:list", json.dumps({"n": 1}), json.dumps({"n": 2}))
    for record in ({"n": 3}, {"n": 4, "do": "fail"}, {"n": 5, "do": "exit"}, {"n": 6, "do": "reject"}):
        admin.xadd("events", {"record": json.dumps(record)})
    used_by_us = {"lpush", "config|resetstat", "config", "acl", "acl|log", "auth", "info", "client|setinfo", "client"}
    weak.run("consume", "--until-empty")
    assert denied(admin) == []
    assert sorted(rows()) == [1, 2, 3]
    assert admin.xlen(dead_letters_key(ref_of("events"))) == 3
    assert not admin.xpending("events", "streamfea")["pending"]
    used = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")} - used_by_us
    allowed = {rule[1:] for block in granted()[:2] for rule in block if rule.startswith("+")}
    if not any("|" in command for command in used):  # before Redis 7.0 subcommands are not told apart
        allowed = {command.partition("|")[0] for command in allowed}
    assert used <= allowed
    assert allowed - used <= _RARELY, "what is never used need not be allowed"


def test_operators_commands_need_what_the_page_says(weak: Project, admin: Any) -> None:
    admin.execute_command("ACL", "SETUSER", "streamfea", *granted()[2])
    weak.run("produce", "q", stdin=b'{"n": 1}\n{"n": 2, "do": "fail"}\n{"n": 3, "do": "reject"}\n')
    weak.run("produce", "q", "--list", stdin=b'{"n": 4}\n')
    checked = {finding["what"]: finding["verdict"] for finding in weak.json("check")}
    assert "problem" not in checked.values()
    weak.run("consume", "--until-empty")
    for command in ("status", "pending", "consumers list", "consumers prune", "trim"):
        weak.run(*command.split())
    held, rejected = (admin.xadd("events", {"record": json.dumps({"n": number})}).decode() for number in (5, 6))
    admin.xreadgroup("streamfea", "somebody", {"events": ">"})
    for command in (f"show q {held}", f"retry q {held}", f"reject q {rejected}", "dead list q", "dead show q --all"):
        weak.run(*command.split())
    for command in ("replay q --reason rejected", "purge q --all --yes"):
        weak.run("dead", *command.split())
    assert denied(admin) == []


def test_who_only_looks_needs_what_the_page_says_and_no_more(weak: Project, admin: Any) -> None:
    rules = [rule.replace("STREAM", "events", 1) for rule in granted()[3]]
    admin.execute_command("ACL", "SETUSER", "exporter", *rules)
    for _ in range(150):
        admin.xadd("events", {"record": "{}"})
    admin.xgroup_create("events", "streamfea", id="0")
    admin.xreadgroup("streamfea", "somebody", {"events": ">"}, count=120)
    admin.hset(errors_key(ref_of("events")), mapping={f"1-{number}": "{}" * 99 for number in range(800)})
    admin.xadd(dead_letters_key(ref_of("events")), {"streamfea-reason": "failed"})
    weak.configure(stream="events")
    weak.configure_servers(redis={"username": "exporter", "password": "PASSWORD"})
    admin.config_resetstat()
    weak.run("metrics", "--once")
    used_by_us = {"config|resetstat", "config", "acl", "acl|log", "auth", "info", "client|setinfo", "client"}
    used = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")} - used_by_us
    weak.run("status")
    assert denied(admin) == []
    allowed = {rule[1:] for rule in granted()[3] if rule.startswith("+")}
    if not any("|" in command for command in used):
        allowed = {command.partition("|")[0] for command in allowed}
    assert used == allowed


def test_check_says_each_privilege_of_the_page_that_is_missing(
    weak: Project, admin: Any, database_url: str, role: str
) -> None:
    admin.execute_command("ACL", "SETUSER", "streamfea", *granted()[2])
    engine = create_engine(database_url)
    for privilege, of in [
        ("SELECT", "seen"), ("INSERT", "seen"), ("USAGE", "SEQUENCE seen_id_seq"),
        ("DELETE", "streamfea_ledger"), ("UPDATE", "streamfea_ledger_horizon"),
    ]:  # fmt: skip
        with engine.begin() as connection:
            connection.execute(text(f"REVOKE {privilege} ON {of} FROM {role}"))
        [told] = [one for one in weak.json("check", expect=1) if one["what"] == "table privileges"]
        assert f"GRANT {privilege} ON {of} TO {role};" in told["remedy"]
        with engine.begin() as connection:
            connection.execute(text(f"GRANT {privilege} ON {of} TO {role}"))
    weak.json("check")
    engine.dispose()


def denied(admin: Any) -> list[str]:
    """Return what someone may not do and tried to."""
    entries = [dict(zip(entry[::2], entry[1::2], strict=True)) for entry in admin.execute_command("ACL", "LOG")]
    objects = [entry[b"object"].decode() for entry in entries]
    return [name for name in objects if name not in {"client|setinfo", "client"}]  # asked by redis-py, needed by nobody
