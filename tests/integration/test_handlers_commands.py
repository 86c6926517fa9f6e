"""Handlers' own commands: what they have at hand, and what becomes of what they did."""

import importlib
import logging
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
import typer
from redis import Redis
from sqlalchemy import create_engine, text
from typer.testing import CliRunner

from streamfea.cli.app import app, main
from streamfea.commands import at_hand, dbsession, queue
from streamfea.config.loading import load_settings
from streamfea.config.settings import Settings
from streamfea.errors import StreamfeaError
from tests.support.commands import Project

Rows = Callable[[], list[int]]
Invoke = Callable[..., str]

_COMMANDS = """
import typer

def register_commands(app: typer.Typer) -> None:
    @app.command()
    def count(since: str = typer.Option("", help="Only newer ones.")) -> None:
        "Count the rows."
"""
_LOOKER = """
from sqlalchemy import text
from streamfea import commands

def process(dbsession, record):
    pass

def register_commands(app):
    @app.command()
    def look():
        commands.dbsession().execute(text("SELECT 1 FROM nowhere"))
"""


def test_a_command_commits_when_it_succeeds_and_rolls_back_when_it_raises(project: Project, rows: Rows) -> None:
    project.configure("commander")
    assert project.run("handlers", "q", "add", "1") == f"added to what comes from {project.stream}\n"
    told = project.run("handlers", "q", "add", "2", "--fail", expect=1)
    assert told.startswith("Error: ValueError: asked to fail (")
    assert told.endswith("commander.py, line 23); --debug shows the traceback\n")
    assert rows() == [1]
    assert project.run("handlers", "q", "count-all") == "1\n"


def test_handlers_are_listed_with_what_they_take_and_have(
    tmp_path: Path, redis_url: str, database_url: str, client: Redis, name: str
) -> None:
    project = Project(tmp_path, redis_url, database_url, name)
    project.config.write_text(project.config.read_text() + '[queues.whole]\nhandler = "commander"\n')
    recorder, commander = project.json("handlers")
    assert recorder["commands"] == []
    assert commander.pop("file").endswith("commander.py")
    assert commander == {
        "queue": "whole", "handler": "commander", "takes": {"process": "bytes"}, "tables": ["seen"], "views": [],
        "commands": ["add", "count-all"], "problem": None,
    }  # fmt: skip


@pytest.fixture
def settings(
    tmp_path: Path, redis_url: str, database_url: str, client: Redis, name: str, rows: Rows
) -> Iterator[Settings]:
    """Settings with a table to write to."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE seen (id serial PRIMARY KEY, number int)"))
    yield load_settings(Project(tmp_path, redis_url, database_url, name).config)
    engine.dispose()


@pytest.mark.parametrize(
    ("end", "kept"),
    [(typer.Exit(0), True), (SystemExit, True), (typer.Exit(1), False), (SystemExit("no"), False), (OSError, False)],
)
def test_how_a_command_ends_decides(
    settings: Settings, rows: Rows, end: BaseException | type[BaseException], kept: bool
) -> None:
    def command() -> None:
        with at_hand(settings, settings.queues["q"]):
            insert(1)
            raise end

    with pytest.raises((typer.Exit, SystemExit, OSError)):
        command()
    assert rows() == ([1] if kept else [])


def test_what_a_command_commits_itself_stays(settings: Settings, rows: Rows) -> None:
    def command() -> None:
        with at_hand(settings, settings.queues["q"]):
            insert(1)
            dbsession().commit()
            insert(2)
            raise OSError

    with pytest.raises(OSError):
        command()
    assert rows() == [1]


def test_nothing_is_at_hand_elsewhere() -> None:
    for function in (dbsession, queue):
        with pytest.raises(StreamfeaError, match="run `streamfea handlers QUEUE COMMAND`"):
            function()


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


@pytest.mark.usefixtures("logging_as_before")
def test_a_missing_table_is_told_with_the_remedy(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "looker.py").write_text(_LOOKER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("STREAMFEA_QUEUES__Q__HANDLER", "looker")
    monkeypatch.setattr("sys.argv", ["streamfea", "handlers", "--config", settings.source, "q", "look"])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert capsys.readouterr().err == 'Error: PostgreSQL: relation "nowhere" does not exist: run `streamfea initdb`\n'


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logging_as_before: None) -> Invoke:
    """Run `streamfea handlers` with a handler of this source; return what is shown, or the error."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def invoked(source: str, *arguments: str) -> str:
        module = f"handler_{secrets.token_hex(4)}"
        (tmp_path / f"{module}.py").write_text(f"{source}\ndef process(dbsession, record): pass\n")
        importlib.invalidate_caches()
        project = Project(tmp_path, "redis://nowhere", "postgresql+psycopg://nowhere/none", "s")
        project.configure(module)
        result = CliRunner().invoke(app, ["handlers", "--config", str(project.config), *arguments])
        assert result.exception is None or isinstance(result.exception, StreamfeaError), result
        return (result.output if result.exception is None else str(result.exception)).replace(module, "MODULE")

    return invoked


def test_help_is_there_on_each_level(invoke: Invoke) -> None:
    assert "From the handler MODULE." in invoke("1 / 0", "--help"), "a list of queues imports no handler"
    commands = invoke(_COMMANDS, "q", "--help")
    assert "The commands of the queue q, from its handler MODULE." in commands
    assert "Count the rows." in commands
    assert "Only newer ones." in invoke(_COMMANDS, "q", "count", "--help")


def test_commands_that_fail_are_told_under_the_list(invoke: Invoke) -> None:
    listed = invoke("def register_commands(app): 1 / 0")
    assert "process: bytes" in listed
    assert "\n\nqueues.q.handler: register_commands() of MODULE failed with ZeroDivisionError" in listed


@pytest.mark.parametrize(
    ("source", "arguments", "told"),
    [
        ("", ["q", "count"], "MODULE, the handler of q, has no commands: define register_commands(app: typer.Typer)"),
        (
            "def register_commands(app): 1 / 0",
            ["q"],
            "queues.q.handler: register_commands() of MODULE failed with Zero",
        ),
        ("1 / 0", ["q"], "queues.q.handler: importing MODULE failed with ZeroDivisionError: division by zero ("),
        ("", ["qq"], "there is no queue 'qq' (did you mean q?)"),
    ],
)
def test_what_cannot_be_run_is_told_in_a_sentence(invoke: Invoke, source: str, arguments: list[str], told: str) -> None:
    message = invoke(source, *arguments)
    assert message.startswith(told)
    assert len(message.splitlines()) == 1


def insert(number: int) -> None:
    dbsession().execute(text("INSERT INTO seen (number) VALUES (:number)"), {"number": number})
