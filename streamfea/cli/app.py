"""The command line: `streamfea COMMAND`, and how errors are reported."""

import sys
import traceback

import typer

from streamfea.cli.commands import LazyCommands
from streamfea.core.printable import printable
from streamfea.errors import ConfigurationError, StreamfeaError, failure
from streamfea.observe.stdio import open_missing

__all__ = ["app", "main"]

_FAILED, _CANNOT_WORK, _INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="streamfea",
    cls=LazyCommands,
    help="Every record of a Redis Stream becomes a committed row in PostgreSQL.",
    no_args_is_help=True,
    rich_markup_mode="markdown",  # otherwise every line of a docstring stays a line
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; errors are one readable line on stderr, with `--debug` after their traceback."""
    open_missing()
    debug = "--debug" in sys.argv
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except ConfigurationError as error:
        sys.exit(_report(str(error), _CANNOT_WORK, debug=debug))
    except StreamfeaError as error:
        sys.exit(_report(str(error), _FAILED, debug=debug))
    except Exception as error:
        # A handler's own command may raise anything.
        from streamfea.processes.complaints import complaint_of_server  # noqa: PLC0415 - most commands end well

        told = complaint_of_server(error) or f"{failure(error)}; --debug shows the traceback"
        sys.exit(_report(str(told), _CANNOT_WORK if _is_distrusted(error) else _FAILED, debug=debug))


def _is_distrusted(error: Exception) -> bool:
    """Tell whether a certificate is in the way: the configuration cannot work, whatever is tried again."""
    from redis.exceptions import RedisError  # noqa: PLC0415 - loaded already if it is one of its own

    if not isinstance(error, RedisError):
        return False
    from streamfea.streams.connection.errors import is_distrusted  # noqa: PLC0415

    return is_distrusted(error)


def _report(message: str, code: int, *, debug: bool) -> int:
    if debug:
        print(printable(traceback.format_exc()), file=sys.stderr)
    from rich.console import Console  # noqa: PLC0415 - most commands end well
    from rich.text import Text  # noqa: PLC0415

    told = Text.assemble(("Error:", "bold red"), " ", printable(message))
    Console(stderr=True, soft_wrap=True).print(told, highlight=False)
    return code


def _print_version(wanted: bool) -> None:
    if wanted:
        from streamfea import __version__  # noqa: PLC0415

        print(f"streamfea {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Show the version."),
) -> None:
    """Every record of a Redis Stream becomes a committed row in PostgreSQL."""
