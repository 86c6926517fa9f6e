"""`streamfea check` looks for problems; `streamfea print-config` prints the settings in force."""

from collections.abc import Iterator

import typer

from streamfea.admin.check import check as look_at_all
from streamfea.cli.common import ConfigOption, DebugOption, JsonOption, console, new_table, print_json, read_settings
from streamfea.cli.handlers import problem_of_commands
from streamfea.cli.rendering import plain, text_of
from streamfea.config.settings import describe, to_toml
from streamfea.core.check_result import CheckResult
from streamfea.handlers.loading import Handler

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
    results = list(look_at_all(settings, _about_commands))
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


def _about_commands(handler: Handler) -> Iterator[CheckResult]:
    problem = problem_of_commands(handler)
    if problem is not None:
        remedy = f"records are processed all the same; {problem.remedy or 'change register_commands()'}"
        yield CheckResult(f"queue {handler.queue.name}: commands", "warning", problem.message, remedy)


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
