"""`streamfea embedded`: status, end and prompts of the servers that `embedded:DIR` has started."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn
from urllib.parse import unquote

import typer

from streamfea.cli.common import (
    ConfigOption,
    DebugOption,
    JsonOption,
    LongConfigOption,
    console,
    new_table,
    print_json,
    read_settings,
)
from streamfea.cli.rendering import text_of
from streamfea.embedded import (
    ensure_postgresql,
    ensure_valkey,
    postgresql_address,
    postgresql_program,
    server_pid,
    stop,
    valkey_address,
    valkey_client,
)
from streamfea.errors import ConfigurationError, StreamfeaError

_EMBEDDED = "embedded:"
_REST = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@dataclass(frozen=True, slots=True)
class _Server:
    """An embedded server of the configuration; `pid` is None when it does not run."""

    server: str
    folder: str
    pid: int | None
    address: str


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    embedded = typer.Typer(no_args_is_help=True)
    embedded.command()(status)
    embedded.command("stop")(stop_)
    embedded.command(context_settings=_REST)(sql)
    embedded.command(context_settings=_REST)(redis)
    app.add_typer(
        embedded,
        name="embedded",
        help="The embedded servers of the configuration: where they are, a prompt of each, their end.",
        rich_help_panel="Set up",
    )


def status(json: JsonOption = False, config: ConfigOption = None, _debug: DebugOption = False) -> None:
    """List the embedded servers of the configuration: folder, process, and the address for other programs.

    Example: streamfea embedded status --json
    """
    servers = _servers(config)
    if json:
        print_json(servers)
        return
    table = new_table("server", "folder", "pid", "address", right=["pid"])
    for server in servers:
        table.add_row(*map(text_of, (server.server, server.folder, str(server.pid or "not running"), server.address)))
    console().print(table)


def stop_(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR]...", help="Their folders; if none is given, those of the configuration."),
    ] = None,
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Stop embedded servers; their data stays, and the next command that needs them starts them again.

    Example: streamfea embedded stop var/valkey var/postgresql
    """
    for folder in folders or [Path(server.folder) for server in _servers(config)]:
        told = f"Stopped the server in {folder}." if stop(folder) else f"No server runs in {folder}."
        console().print(told, markup=False, soft_wrap=True)


def sql(
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="What psql is given.")] = None,
    config: LongConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Run psql on the embedded PostgreSQL, which is started when it is not running.

    Example: streamfea embedded sql -c "SELECT count(*) FROM flight"
    """
    folder = _folder(read_settings(config).database.url, "database.url")
    address = _for_libpq(ensure_postgresql(folder))
    _become([str(postgresql_program("psql")), address, *(arguments or [])])


def redis(
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="What redis-cli is given.")] = None,
    config: LongConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Run redis-cli, or valkey-cli, on the embedded Redis, which is started when it is not running.

    Example: streamfea embedded redis XLEN flights
    """
    folder = _folder(read_settings(config).redis.url, "redis.url")
    socket = unquote(ensure_valkey(folder).removeprefix("unix://"))
    _become([valkey_client(), "-s", socket, *(arguments or [])])


def _servers(config: Path | None) -> list[_Server]:
    settings = read_settings(config)
    found = []
    if settings.redis.url.startswith(_EMBEDDED):
        folder = _folder(settings.redis.url, "redis.url")
        found.append(_Server("Redis", str(folder), server_pid(folder), valkey_address(folder)))
    if settings.database.url.startswith(_EMBEDDED):
        folder = _folder(settings.database.url, "database.url")
        address = _for_libpq(postgresql_address(folder))
        found.append(_Server("PostgreSQL", str(folder), server_pid(folder), address))
    if not found:
        raise ConfigurationError(f"{settings.source} has no embedded servers: its URLs begin with something else")
    return found


def _folder(url: str, key: str) -> Path:
    if not url.startswith(_EMBEDDED):
        raise ConfigurationError(f"{key} is no embedded server: it does not begin with {_EMBEDDED}")
    return Path(url.removeprefix(_EMBEDDED)).absolute()


def _for_libpq(url: str) -> str:
    return url.replace("+psycopg", "", 1)


def _become(command: list[str]) -> NoReturn:
    """Replace this process, so that the prompt has the terminal and its signals to itself."""
    try:
        os.execv(command[0], command)  # noqa: S606 - a fixed program
    except OSError as error:
        raise StreamfeaError(f"{command[0]} cannot be run: {error.strerror}") from error
