"""The command line: `streamfea COMMAND`, and what becomes of errors."""

import sys
import traceback

import typer
from redis.exceptions import RedisError
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from streamfea import __version__
from streamfea.cli import consume, consumers, database, demo, look, produce, reset, setup, trim
from streamfea.errors import ConfigurationError, StreamfeaError
from streamfea.streams.faults import told

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
        sys.exit(_report(f"Redis: {told(error)}", _FAILED, debug=debug))
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        sys.exit(_report(f"PostgreSQL: {str(cause).strip().splitlines()[0]}", _FAILED, debug=debug))
    except Exception as error:  # a mistake of ours, or a server that is none: still one line, unless more is asked for
        reason = traceback.format_exception_only(error)[-1].strip()
        sys.exit(_report(f"unexpected: {reason}; --debug shows where", _FAILED, debug=debug))


def _report(message: str, code: int, *, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    Console(stderr=True, soft_wrap=True).print(f"[bold red]Error:[/] {_escaped(message)}", highlight=False)
    return code


def _escaped(text: str) -> str:
    from rich.markup import escape  # noqa: PLC0415

    return escape(text)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"streamfea {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Show the version."),
) -> None:
    """Every record of a Redis Stream becomes a committed row in PostgreSQL."""


for module in (consume, look, consumers, trim, produce, database, reset, setup, demo):
    module.register(app)
