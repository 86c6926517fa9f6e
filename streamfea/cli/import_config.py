"""`streamfea import-config`: converts a configuration of Azafea."""

import tomllib
from pathlib import Path
from typing import Annotated

import tomli_w
import typer

from streamfea.cli.common import DebugOption
from streamfea.config.azafea import is_of_azafea, settings_from_azafea
from streamfea.errors import ConfigurationError

_HEAD = """\
# Made of {path} by `streamfea import-config`. The changes are explained in docs/migrating-from-azafea.md
# `workers` are processes for each queue; passwords may be in files (password_file).
"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("import-config", rich_help_panel="Set up")(import_config)


def import_config(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The configuration of Azafea.")],
    _debug: DebugOption = False,
) -> None:
    """Print the configuration of streamfea that does what one of Azafea did; passwords are in it.

    Its output is a file: redirect it to streamfea.toml.

    Example: streamfea import-config azafea.toml
    """
    if not path.is_file():
        raise ConfigurationError(f"there is no file {path}")
    if not is_of_azafea(path):
        raise ConfigurationError(f"{path} is no configuration of Azafea: it has neither [main] nor [postgresql]")
    settings = settings_from_azafea(tomllib.loads(path.read_text(encoding="utf-8")))
    if not settings["queues"]:
        raise ConfigurationError(f"{path} has no [queues.NAME], and without one there is nothing to do")
    print(f"{_HEAD.format(path=path)}\n{tomli_w.dumps(settings)}", end="")
