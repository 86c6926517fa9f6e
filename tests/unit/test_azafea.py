"""A configuration of Azafea is known at sight, and says what one of streamfea's would."""

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamfea.cli.app import app
from streamfea.config.loading import load_settings
from streamfea.errors import ConfigurationError

_AZAFEA = """
[main]
verbose = true
number_of_workers = 3
exit_on_empty_queues = false

[redis]
host = "redis.example"
port = 6380
password = "a secret"
ssl = true

[postgresql]
host = "::1"
user = "me@home"
password = "it's"
database = "azafea db"

[postgresql.connect_args]
sslmode = "verify-full"

[queues.ping-1]
handler = "azafea_ping.handler"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(_AZAFEA)
    return file


def test_it_is_answered_with_what_to_do(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"is a configuration of Azafea: `streamfea import-config .*migrating"):
        load_settings(file)


def test_it_becomes_one_of_streamfeas(file: Path, tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["import-config", str(file)])
    assert told.exit_code == 0, told.output
    made = tmp_path / "streamfea.toml"
    made.write_text(told.output)
    settings = load_settings(made)
    assert tomllib.loads(told.output) == {
        "redis": {"url": "rediss://redis.example:6380/0", "password": "a secret"},
        "database": {
            "url": "postgresql+psycopg://me%40home@[::1]:5432/azafea%20db",
            "password": "it's",
            "connect_args": {"sslmode": "verify-full"},
        },
        "consumer": {"workers": 3},
        "log": {"level": "debug"},
        "queues": {
            "ping-1": {
                "handler": "azafea_ping.handler", "legacy_list": "ping-1", "legacy_errors": "errors-ping-1",
            }
        },
    }  # fmt: skip
    assert (settings.queues["ping-1"].stream, settings.queues["ping-1"].workers) == ("{ping-1}:stream", 3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[main]\nverbose = true\n", "has no \\[queues.NAME]"),
        ("[redis]\n", "is no configuration of Azafea"),
        ("[", "is no"),
    ],
)
def test_what_cannot_be_one_is_said(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "azafea.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=problem):
        CliRunner().invoke(app, ["import-config", str(file)], catch_exceptions=False)
