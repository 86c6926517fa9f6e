"""The list of commands, which is there without importing any of them."""

import subprocess
import sys

import pytest

from streamfea.cli.commands import LISTED, load_command


@pytest.mark.parametrize("name", LISTED)
def test_a_command_is_listed_as_it_is(name: str) -> None:
    command = load_command(name)
    assert " ".join(command.help.split("\n\n")[0].split()) == LISTED[name].help
    assert command.rich_help_panel == LISTED[name].panel


def test_help_imports_nothing_that_only_commands_need() -> None:
    program = (
        "import sys\n"
        "from streamfea.cli.app import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "print(sorted({'redis', 'sqlalchemy', 'pydantic', 'structlog'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert "consume" in told
    assert told.splitlines()[-1] == "[]"
