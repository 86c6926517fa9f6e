"""`streamfea check` and `streamfea print-config`: is it all as it should be."""

from collections.abc import Iterator

import typer

from streamfea.cli.common import (
    ConfigOption,
    DebugOption,
    JsonOption,
    console,
    new_table,
    open_client,
    print_json,
    read_settings,
)
from streamfea.cli.handlers import problem_of_commands
from streamfea.cli.rendering import plain, text_of
from streamfea.config.settings import Settings, describe, to_toml
from streamfea.core.check_result import Finding
from streamfea.database.connection.engine import open_database
from streamfea.database.schema.diagnose import inspect_database
from streamfea.database.schema.setup import all_schemas
from streamfea.errors import ConfigurationError, StreamfeaError
from streamfea.handlers.loading import Handler, load_handler
from streamfea.handlers.schemas import models_of
from streamfea.orm.lazy_state import DROP, REJECT
from streamfea.streams.operating.diagnose import inspect_redis

_DISPOSAL = {DROP: 'drop them (__unknown_keys__ = "drop")', REJECT: 'reject the record (__unknown_keys__ = "reject")'}
_MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "problem": "[bold red]problem[/]"}


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command(rich_help_panel="Set up")(check)
    app.command("print-config", rich_help_panel="Set up")(print_config)


def check(json: JsonOption = False, config: ConfigOption = None, _debug: DebugOption = False) -> None:
    """Look at configuration, handlers, both servers, permissions and tables; exit 1 when something is wrong.

    Example: streamfea check --json
    """
    settings = read_settings(config)
    findings = list(_findings(settings))
    if json:
        print_json(findings)
    else:
        _print(findings)
    if any(finding.verdict == "problem" for finding in findings):
        raise typer.Exit(1)


def print_config(config: ConfigOption = None, _debug: DebugOption = False) -> None:
    """Print the settings in force as TOML: file, environment and defaults; secrets are masked.

    Example: STREAMFEA_CONSUMER__WORKERS=4 streamfea print-config
    """
    settings = read_settings(config)
    print(f"# from {settings.source}, the environment and the defaults\n")
    print(to_toml(describe(settings)), end="")


def _findings(settings: Settings) -> Iterator[Finding]:
    queues = settings.select([])
    yield Finding("configuration", "ok", f"{settings.source}: {', '.join(queue.name for queue in queues)}")
    handlers: list[Handler] = []
    for queue in queues:
        try:
            handlers.append(load_handler(queue))
            yield Finding(f"queue {queue.name}: handler", "ok", queue.handler)
            yield from _about_models(handlers[-1])
            yield from _about_commands(handlers[-1])
        except ConfigurationError as error:
            yield Finding(f"queue {queue.name}: handler", "problem", str(error), "correct the handler or its name")
    try:
        with open_client(settings) as client:
            yield from inspect_redis(client, queues)
    except StreamfeaError as error:
        yield Finding("redis", "problem", str(error), "see the message")
    try:
        engine = open_database(settings.database)
    except StreamfeaError as error:
        yield Finding("database", "problem", str(error), "see the message")
        return
    try:
        yield from inspect_database(engine, all_schemas(handlers))
    finally:
        engine.dispose()


def _about_models(handler: Handler) -> Iterator[Finding]:
    """Say what the handler's models do with keys of a record that they have no attribute for."""
    done: dict[str, list[str]] = {}
    for model in models_of(handler):
        done.setdefault(str(getattr(model, "__unknown_keys__", DROP)), []).append(model.__name__)
    if done:
        told = "; ".join(f"{', '.join(names)} {_DISPOSAL[how]}" for how, names in sorted(done.items()))
        yield Finding(f"queue {handler.queue.name}: unknown keys", "ok", told)


def _about_commands(handler: Handler) -> Iterator[Finding]:
    problem = problem_of_commands(handler)
    if problem:
        what = f"queue {handler.queue.name}: commands"
        yield Finding(what, "warning", problem, "records are processed all the same; change register_commands()")


def _print(findings: list[Finding]) -> None:
    table = new_table("", "what", "found")
    for finding in findings:
        remedy = f"\n→ {finding.remedy}" if finding.remedy else ""
        table.add_row(_MARKS[finding.verdict], plain(finding.what), text_of(f"{finding.detail}{remedy}"))
    out = console()
    out.print(table)
    problems = sum(finding.verdict == "problem" for finding in findings)
    out.print(f"\n{problems or 'No'} problem{'' if problems == 1 else 's'} found.")
