"""`streamfea handlers`: lists the handlers, and runs their own commands."""

from contextlib import suppress
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from streamfea.cli.common import (
    ConfigOption,
    DebugOption,
    JsonOption,
    console,
    new_table,
    print_json,
    queue_names,
    read_settings,
)
from streamfea.cli.rendering import text_of
from streamfea.commands import at_hand
from streamfea.config.loading import load_settings
from streamfea.config.sections import Queue
from streamfea.config.settings import Settings
from streamfea.errors import ConfigurationError, StreamfeaError, failure
from streamfea.handlers.loading import Handler, load_handler, load_handlers
from streamfea.handlers.schemas import schema_of


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    group = typer.Typer(cls=_Queues, invoke_without_command=True, subcommand_metavar="[QUEUE COMMAND [ARGS]...]")
    group.callback()(handlers)
    app.add_typer(group, name="handlers", rich_help_panel="Set up")


def handlers(
    context: typer.Context,
    json: JsonOption = False,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """List the handlers, or run a command of a queue's handler.

    Alone, it tells of each queue which handler it has, what that takes, its tables and its commands. With a QUEUE, it
    runs one of these; QUEUE --help lists them.

    Example: streamfea handlers flights delays --carrier UA
    """
    settings = read_settings(config)
    if context.invoked_subcommand is not None:
        return
    found = [_described(handler) for handler in load_handlers(settings.select([]))]
    if json:
        print_json(found)
    else:
        _print(found)


class _Queues(TyperGroup):
    """A command for each queue, with the commands of its handler below it."""

    def list_commands(self, ctx: Any) -> list[str]:
        return queue_names(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        try:
            settings = load_settings(ctx.params.get("config"))
            [queue] = settings.select([cmd_name])
        except StreamfeaError:
            if ctx.resilient_parsing:
                return None
            raise
        return _Queue(settings, queue)


class _Queue(TyperGroup):
    """The commands of a queue's handler, which is imported when one of them is needed."""

    def __init__(self, settings: Settings, queue: Queue) -> None:
        super().__init__(name=queue.name, help=f"From the handler {queue.handler}.")
        self._settings = settings
        self._queue = queue

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        try:
            own = _own_commands(self._settings, load_handler(self._queue))
        except StreamfeaError:
            if extra.get("resilient_parsing"):
                return super().make_context(info_name, args, parent, **extra)
            raise
        return own.make_context(info_name, args, parent, **extra)


def _own_commands(settings: Settings, handler: Handler) -> TyperGroup:
    """Return a handler's own commands, each of which runs with session and queue at hand.

    Raises `ConfigurationError` when it has none.
    """

    class WithSession(TyperGroup):
        def invoke(self, ctx: Any) -> Any:
            with at_hand(settings, handler.queue):
                return super().invoke(ctx)

    help_ = f"The commands of the queue {handler.queue.name}, from its handler {handler.queue.handler}."
    app = typer.Typer(cls=WithSession, help=help_, no_args_is_help=True, rich_markup_mode="markdown")
    _register(handler, app)
    if not app.registered_commands and not app.registered_groups:
        raise ConfigurationError(
            f"{handler.queue.handler}, the handler of {handler.queue.name}, has no commands",
            remedy="define register_commands(app: typer.Typer) in it",
        )
    return get_group(app)


def _register(handler: Handler, app: typer.Typer) -> None:
    if handler.register_commands is None:
        return
    where = f"queues.{handler.queue.name}.handler: register_commands() of {handler.queue.handler}"
    try:
        handler.register_commands(app)
    except Exception as error:  # whatever somebody else's code may raise
        if isinstance(error, AttributeError) and error.obj is app:
            raise ConfigurationError(
                f"{where} asks for .{error.name}() of argparse, as Azafea's did: here it gets a Typer application",
                remedy="docs/migrating-from-azafea.md has an example of the change",
            ) from error
        raise ConfigurationError(f"{where} failed with {failure(error)}") from error


def problem_of_commands(handler: Handler) -> ConfigurationError | None:
    """Return the problem of a handler's own commands, or None."""
    try:
        _register(handler, typer.Typer())
    except ConfigurationError as error:
        return error
    return None


def _described(handler: Handler) -> dict[str, Any]:
    schema = schema_of(handler)
    return {
        "queue": handler.queue.name,
        "handler": handler.queue.handler,
        "file": handler.module.__file__,
        "takes": dict(handler.takes),
        "tables": [table.fullname for table in schema.tables],
        "views": [view.fullname for view in schema.views],
        "commands": _command_names(handler),
        "problem": None if (problem := problem_of_commands(handler)) is None else str(problem),
    }


def _command_names(handler: Handler) -> list[str]:
    app = typer.Typer()
    with suppress(ConfigurationError):  # which is one handler's affair, and told as its problem
        _register(handler, app)
    return list(get_group(app).commands) if app.registered_commands or app.registered_groups else []


def _print(found: list[dict[str, Any]]) -> None:
    table = new_table("queue", "handler", "takes", "tables", "commands")
    for handler in found:
        takes = "\n".join(f"{name}: {kind}" for name, kind in handler["takes"].items())
        tables = ", ".join([*handler["tables"], *(f"{view} (view)" for view in handler["views"])])
        cells = [handler["queue"], handler["handler"], takes, tables or "-", ", ".join(handler["commands"]) or "-"]
        table.add_row(*map(text_of, cells))
    console().print(table)
    for problem in (handler["problem"] for handler in found if handler["problem"]):
        console().print(f"\n{problem}", markup=False, soft_wrap=True)
    if any(handler["commands"] for handler in found):
        console().print("\nA command: streamfea handlers QUEUE COMMAND --help", markup=False)
