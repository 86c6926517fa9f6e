"""`streamfea check` looks for problems; `streamfea print-config` prints the settings in force."""

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
from streamfea.core.check_result import CheckResult
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
    results = list(_results(settings))
    if json:
        print_json(map(_as_json, results))
    else:
        _print(results)
    if any(result.level == "problem" for result in results):
        raise typer.Exit(1)


def print_config(config: ConfigOption = None, _debug: DebugOption = False) -> None:
    """Print the settings in force as TOML: file, environment and defaults; secrets are masked.

    Example: STREAMFEA_CONSUMER__WORKERS=4 streamfea print-config
    """
    settings = read_settings(config)
    print(f"# from {settings.source}, the environment and the defaults\n")
    print(to_toml(describe(settings)), end="")


def _results(settings: Settings) -> Iterator[CheckResult]:
    queues = settings.select([])
    yield CheckResult("configuration", "ok", f"{settings.source}: {', '.join(queue.name for queue in queues)}")
    handlers: list[Handler] = []
    for queue in queues:
        try:
            handlers.append(load_handler(queue))
            yield CheckResult(f"queue {queue.name}: handler", "ok", queue.handler)
            yield from _about_models(handlers[-1])
            yield from _about_commands(handlers[-1])
        except ConfigurationError as error:
            yield CheckResult(f"queue {queue.name}: handler", "problem", str(error), "correct the handler or its name")
    try:
        with open_client(settings) as client:
            yield from inspect_redis(client, queues)
    except StreamfeaError as error:
        yield CheckResult("redis", "problem", str(error), "see the message")
    try:
        engine = open_database(settings.database)
    except StreamfeaError as error:
        yield CheckResult("database", "problem", str(error), "see the message")
        return
    try:
        yield from inspect_database(engine, all_schemas(handlers))
    finally:
        engine.dispose()


def _about_models(handler: Handler) -> Iterator[CheckResult]:
    """Say what the handler's models do with keys of a record that they have no attribute for."""
    done: dict[str, list[str]] = {}
    for model in models_of(handler):
        done.setdefault(str(getattr(model, "__unknown_keys__", DROP)), []).append(model.__name__)
    if done:
        told = "; ".join(f"{', '.join(names)} {_DISPOSAL[how]}" for how, names in sorted(done.items()))
        yield CheckResult(f"queue {handler.queue.name}: unknown keys", "ok", told)


def _about_commands(handler: Handler) -> Iterator[CheckResult]:
    problem = problem_of_commands(handler)
    if problem:
        what = f"queue {handler.queue.name}: commands"
        yield CheckResult(what, "warning", problem, "records are processed all the same; change register_commands()")


def _as_json(result: CheckResult) -> dict[str, str]:
    """Return a result under the names that scripts know."""
    return {"what": result.what, "verdict": result.level, "detail": result.detail, "remedy": result.remedy}


def _print(results: list[CheckResult]) -> None:
    table = new_table("", "what", "found")
    for result in results:
        remedy = f"\n→ {result.remedy}" if result.remedy else ""
        table.add_row(_MARKS[result.level], plain(result.what), text_of(f"{result.detail}{remedy}"))
    out = console()
    out.print(table)
    problems = sum(result.level == "problem" for result in results)
    out.print(f"\n{problems or 'No'} problem{'' if problems == 1 else 's'} found.")
