"""Finds the configuration file and reads it; mistakes are told all at once, each with its key and a remedy."""

import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import (
    ValidationError,
)
from pydantic_settings import (
    SettingsError,
)

from streamfea.config.azafea import is_of_azafea
from streamfea.config.problems import (
    problems_in,
)
from streamfea.config.settings import Settings
from streamfea.errors import ConfigurationError

__all__ = ["find_config", "load_settings"]

_PREFIX = "STREAMFEA_"
_CONFIG_VARIABLE = f"{_PREFIX}CONFIG"
_NO_SETTINGS = (f"{_PREFIX}TEST_", f"{_PREFIX}EMBEDDED_")
_FILES = (Path("streamfea.toml"), Path("config/streamfea.toml"))


def load_settings(path: Path | None = None) -> Settings:
    """Return the settings from the file at `path`, else from the first of the usual places, and the environment.

    Raises `ConfigurationError` that lists every mistake.
    """
    source = find_config(path)
    if source is None:
        raise ConfigurationError(
            f"no configuration: neither {' nor '.join(map(str, _FILES))} is in {Path.cwd()}",
            remedy=f"name a file with --config or ${_CONFIG_VARIABLE}, or write one with `streamfea new-handler NAME`",
        )
    if is_of_azafea(source):
        raise ConfigurationError(
            f"{source} is a configuration of Azafea",
            remedy=f"`streamfea import-config {source} > streamfea.toml` makes one for streamfea of it, and "
            "docs/migrating-from-azafea.md says what becomes of what",
        )
    unknown = list(_unknown_variables())
    try:
        settings = Settings(source=str(source))
    except ValidationError as error:
        mistakes = problems_in(error, str(source), unknown, Settings)
        raise ConfigurationError(mistakes) from None  # the cause would show values, passwords among them
    except SettingsError as error:
        if not unknown:
            remedy = "a table in the environment is written as JSON"
            raise ConfigurationError(str(error), remedy=remedy) from None  # as above
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"cannot read {source}: {error}") from error
    except RecursionError:
        raise ConfigurationError(f"cannot read {source}: nested too deeply") from None
    if unknown:
        raise ConfigurationError(problems_in(None, "the environment", unknown, Settings))
    return settings


def find_config(path: Path | None = None) -> Path | None:
    """Return `path`, else the file that the environment names, else the first of the usual files that exists.

    Raises `ConfigurationError` when the file that was named does not exist.
    """
    given = path or (Path(variable) if (variable := os.environ.get(_CONFIG_VARIABLE)) else None)
    if given is not None and not given.is_file():
        raise ConfigurationError(f"there is no configuration file {given}")
    return given or next((candidate for candidate in _FILES if candidate.is_file()), None)


def _unknown_variables() -> Iterator[str]:
    """Yield the environment variables that mean to be ours and set nothing."""
    sections = Settings.model_fields.keys() - {"source"}
    for variable in os.environ:
        if not variable.startswith(_PREFIX) or variable == _CONFIG_VARIABLE or variable.startswith(_NO_SETTINGS):
            continue
        section = variable.removeprefix(_PREFIX).partition("__")[0].lower()
        if section not in sections or "__" not in variable:
            yield variable
