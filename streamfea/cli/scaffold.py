"""`streamfea new-handler`: a handler to start from, its test and its section of the configuration."""

import json
import keyword
import sys
import tomllib
from collections.abc import Iterable
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from streamfea.cli.common import ConfigOption, DebugOption, console
from streamfea.config.loading import find_config
from streamfea.errors import ConfigurationError, StreamfeaError

_TEMPLATES = files("streamfea.cli") / "templates"
_NEW_CONFIG = Path("streamfea.toml")
_EMBEDDED = """\
# Real servers that the first command starts, in the folder var/. For servers of your own, write their addresses:
# url = "redis://localhost:6379/0" and url = "postgresql+psycopg://me@localhost/mydb".

[redis]
url = "embedded:var/valkey"

[database]
url = "embedded:var/postgresql"
"""
_RECORD = {"name": "first", "value": 1.5, "at": "2026-01-31T12:00:00Z"}


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("new-handler", rich_help_panel="Set up")(new_handler)


def new_handler(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the handler's module and of its queue.")],
    config: ConfigOption = None,
    _debug: DebugOption = False,
) -> None:
    """Write a handler, a test of it and its section of the configuration; overwrite nothing.

    NAME.py and test_NAME.py go into the current folder, the section `queues.NAME` to the end of the configuration in
    force. If
    there is none, a streamfea.toml with embedded servers is written.

    Example: streamfea new-handler readings
    """
    file = find_config(config)
    section = f'[queues.{name}]  # reads the stream "{name}"\nhandler = "{name}"\n'
    before = _EMBEDDED if file is None else file.read_text(encoding="utf-8")
    _refuse_name(name)
    modules = {f"{name}.py": "handler.py.txt", f"test_{name}.py": "test_handler.py.txt"}
    _refuse_files(modules)
    configuration = _with_section(before, section, name, file or _NEW_CONFIG)
    for path, template in modules.items():
        Path(path).write_text(_filled(template, name), encoding="utf-8")
    (file or _NEW_CONFIG).write_text(configuration, encoding="utf-8")
    _tell(name, modules, file)


def _refuse_name(name: str) -> None:
    if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name):
        raise ConfigurationError(
            f"{name!r} cannot be the name of a Python module",
            remedy="use letters, digits and _, beginning with a letter, and no word of the language, as in "
            "sensor_readings",
        )
    package = Path(name, "__init__.py").exists()
    if package or name in sys.stdlib_module_names or (not Path(f"{name}.py").exists() and find_spec(name) is not None):
        raise ConfigurationError(
            f"there is a module {name} already, and {name}.py would hide it or be hidden by it",
            remedy=f"choose another name, as in my_{name}",
        )


def _refuse_files(paths: Iterable[str]) -> None:
    there = [path for path in paths if Path(path).exists()]
    if there:
        remedy = "choose another name, or move what is there away"
        raise StreamfeaError(f"there is {' and '.join(there)} already", remedy=remedy)


def _with_section(before: str, section: str, name: str, file: Path) -> str:
    """Return a configuration with one more section; raises `ConfigurationError` when it cannot simply be appended."""
    after = f"{before.rstrip()}\n\n{section}"
    try:
        there = tomllib.loads(before).get("queues", {})
        if isinstance(there, dict) and name in there:
            raise ConfigurationError(f"{file} has [queues.{name}] already", remedy="choose another name, or remove it")
        tomllib.loads(after)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"cannot add [queues.{name}] to {file} ({error})",
            remedy="correct the file, or write its queues as sections",
        ) from error
    return after


def _filled(template: str, name: str) -> str:
    model = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
    record = json.dumps(_RECORD)
    return Template((_TEMPLATES / template).read_text(encoding="utf-8")).substitute(
        name=name, model=model, record=record
    )


def _tell(name: str, written: Iterable[str], config: Path | None) -> None:
    added = f"added [queues.{name}] to {config}" if config else f"wrote {_NEW_CONFIG} (embedded servers)"
    lines = [
        f"Wrote {', '.join(written)}; {added}.",
        "Try next:",
        f"  pytest test_{name}.py",
        f"  echo '{json.dumps(_RECORD)}' | streamfea produce {name}",
        f"  streamfea consume {name} --create-tables --until-empty",
        f"  streamfea handlers {name} latest",
    ]
    console().print("\n".join(lines), markup=False, soft_wrap=True)
