"""The command line: `streamfea COMMAND`, and what becomes of errors."""

import sys
import traceback

import typer
from redis.exceptions import RedisError
from rich.console import Console
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from streamfea import __version__
from streamfea.cli import consume, consumers, database, dead, demo, look, produce, reset, setup, show, stuck, trim
from streamfea.errors import ConfigurationError, StreamfeaError
from streamfea.printable import printable

__all__ = ["app", "main"]

_FAILED, _CANNOT_WORK, _INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="streamfea",
    help="Every record of a Redis Stream becomes a committed row in PostgreSQL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; errors are one readable line on stderr, with `--debug` after their traceback."""
    debug = "--debug" in sys.argv
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except ConfigurationError as error:
        sys.exit(_report(str(error), _CANNOT_WORK, debug=debug))
    except StreamfeaError as error:
        sys.exit(_report(str(error), _FAILED, debug=debug))
    except RedisError as error:
        sys.exit(_report(f"Redis: {error}", _FAILED, debug=debug))
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        sys.exit(_report(f"PostgreSQL: {str(cause).strip().splitlines()[0]}", _FAILED, debug=debug))


def _report(message: str, code: int, *, debug: bool) -> int:
    if debug:
        print(printable(traceback.format_exc()), file=sys.stderr)
    told = Text.assemble(("Error:", "bold red"), " ", printable(message))
    Console(stderr=True, soft_wrap=True).print(told, highlight=False)
    return code


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"streamfea {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Show the version."),
) -> None:
    """Every record of a Redis Stream becomes a committed row in PostgreSQL."""


for module in (consume, look, show, stuck, dead, consumers, trim, produce, database, reset, setup, demo):
    module.register(app)
