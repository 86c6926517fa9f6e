"""Passwords show up nowhere: not in logs at any level, tracebacks, listings, process titles or dead letters."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import psutil
import pytest
import structlog
from redis import Redis
from sqlalchemy import make_url

from streamfea.config.sections import LogSettings
from streamfea.observe.logs import configure_logging
from streamfea.streams.connection.keys import dead_letters_key
from tests.support.commands import Project
from tests.support.queues import ref_of
from tests.support.waiting import wait_until

Rows = Callable[[], list[int]]

_REDIS_SECRET, _URL_SECRET, _DATABASE_SECRET = "geheimnis-redis", "geheimnis-url", "geheimnis-postgresql"
_SECRET = "geheimnis"


@pytest.fixture
def guarded(tmp_path: Path, redis_url: str, database_url: str, client: Redis, name: str) -> Iterator[Project]:
    """A project whose passwords are in a file, in Redis' URL and in PostgreSQL's."""
    raw: Any = client
    raw.execute_command("ACL", "SETUSER", name, "on", f">{_REDIS_SECRET}", f">{_URL_SECRET}", "~*", "&*", "+@all")
    url = make_url(database_url).set(username="postgres", password=_DATABASE_SECRET).render_as_string(False)
    socket = unquote(redis_url.removeprefix("unix://"))
    project = Project(tmp_path, f"unix://{name}:{_URL_SECRET}@{socket}", url, f"{name}:stream")
    project.configure(max_deliveries=1)
    password_file = tmp_path / "password"
    password_file.write_text(_REDIS_SECRET + "\n")
    project.configure_servers(redis={"username": name, "password_file": str(password_file)})
    project.run("initdb")
    yield project
    raw.execute_command("ACL", "DELUSER", name)


def everything_said(project: Project, *arguments: str) -> str:
    """Run a command with all that it may say; return both of its outputs."""
    command, *rest = arguments
    with project.consuming(*rest, "--debug", command=command) as running:
        running.process.wait(60)
        return running.log()


def test_no_password_is_shown_while_all_goes_well_and_when_records_fail(
    guarded: Project, client: Redis, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMFEA_LOG__LEVEL", "debug")
    for record in ({"n": 1}, {"n": 2, "do": "fail"}, {"n": 3, "do": "exit"}, {"n": 2**40}):
        client.xadd(guarded.stream, {"record": json.dumps(record)})
    with guarded.consuming() as consumer:
        titles = [
            " ".join(process.cmdline()) for process in [psutil.Process(consumer.process.pid), *consumer.workers()]
        ]
        letters = dead_letters_key(ref_of(guarded.stream))
        wait_until(lambda: client.xlen(letters) == 3, "what is bad is buried", 60)
        consumer.terminate()
    said = [consumer.log(), *titles, repr(client.xrange(letters))]
    said += [everything_said(guarded, *words.split()) for words in ("print-config", "check", "check --json", "status")]
    assert "asked to fail" in said[-5]
    assert _SECRET not in "\n".join(said)


def test_no_password_is_shown_when_servers_refuse_us_or_are_away(guarded: Project, tmp_path: Path) -> None:
    away = Project(tmp_path / "away", f"redis://u:{_URL_SECRET}@127.0.0.1:1/0",
                   f"postgresql+psycopg://u:{_DATABASE_SECRET}@127.0.0.1:1/d", "s")  # fmt: skip
    unreadable = Project(tmp_path / "unreadable", f"redis://u:/{_URL_SECRET}@h/0",
                         f"postgresql+psycopg://u:{_DATABASE_SECRET}@h:port/d", "s")  # fmt: skip
    guarded.configure_servers(redis={"username": "nobody"})
    said = [
        everything_said(project, *words.split())
        for project, words in ((guarded, "status"), (guarded, "consume"), (away, "status"), (away, "initdb"),
                               (away, "check"), (unreadable, "initdb"))
    ]  # fmt: skip
    assert all("rror" in one or "problem" in one for one in said), said
    assert _SECRET not in "\n".join(said)


@pytest.mark.parametrize("form", ["console", "json"])
def test_tracebacks_in_logs_show_no_values(form: Any, capsys: pytest.CaptureFixture[str]) -> None:
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    configure_logging(LogSettings(level="debug", format=form))
    logging.getLogger().handlers[0].stream = sys.stderr  # type: ignore[attr-defined]  # a StreamHandler
    try:
        _fail_and_log(_SECRET + "-local")
    finally:
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)
        structlog.reset_defaults()
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said
    assert _SECRET not in said


_WITH_SECRETS: list[tuple[str, dict[str, object]]] = [
    (f"?Password={_SECRET}&passwd={_SECRET}&pass%77ord={_SECRET}&sslpassword={_SECRET}", {}),
    ("", {"conninfo": f"host=h password={_SECRET}", "passwd": _SECRET, "oauth_client_secret": _SECRET}),
    ("", {"conninfo": f"host=h password={_SECRET} {_SECRET}"}),
    ("", {"conninfo": f"postgresql://u:{_SECRET}%zz{_SECRET}@h/d"}),
]


@pytest.mark.parametrize(("query", "connect_args"), _WITH_SECRETS)
def test_no_password_is_shown_wherever_and_however_it_is_written(
    tmp_path: Path, query: str, connect_args: dict[str, object]
) -> None:
    project = Project(tmp_path / "p", f"redis://127.0.0.1:1/0?password={_SECRET}&Passwd={_SECRET}",
                      f"postgresql+psycopg://u:{_SECRET}@127.0.0.1:1/d{query}", "s")  # fmt: skip
    project.configure_servers(database={"connect_args": connect_args})
    said = [everything_said(project, command) for command in ("print-config", "check", "initdb", "status", "consume")]
    assert "**********" in said[0]
    assert all("rror" in one or "problem" in one for one in said[1:]), said
    assert _SECRET not in "\n".join(said)


def _fail_and_log(password: str) -> None:
    try:
        divmod(len(password), 0)
    except ZeroDivisionError:
        structlog.get_logger("streamfea.test").exception("failed")
        logging.getLogger("handler").exception("failed, too")
