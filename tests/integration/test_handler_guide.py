"""The code of the pages on writing, extending and testing a handler runs as it is there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.commands import Project

_PAGES = Path(__file__).parents[2] / "docs" / "how-to"
_OF_THE_COMMAND = """

def test_the_command():
    import typer
    from typer.testing import CliRunner
    import readings
    from streamfea.commands import at_hand
    from streamfea.database.connection.engine import open_database
    from streamfea.config.loading import load_settings

    settings = load_settings()
    readings.Base.metadata.create_all(open_database(settings.database))
    app = typer.Typer()
    readings.register_commands(app)
    with at_hand(settings, settings.queues["q"]):
        assert "0 readings of the stream" in CliRunner().invoke(app, ["s1"]).output
"""


def test_the_guides_handler_passes_the_guides_test(
    tmp_path: Path, redis_url: str, database_url: str, name: str
) -> None:
    handler, _, _ = code("write-a-handler")
    [command] = code("add-commands-to-a-handler")
    [test] = code("test-a-handler")
    (tmp_path / "readings.py").write_text(handler + command)
    (tmp_path / "test_readings.py").write_text(test + _OF_THE_COMMAND)
    project = Project(tmp_path, redis_url, database_url, name)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_readings.py"],
        cwd=tmp_path,
        env={**os.environ, "STREAMFEA_CONFIG": str(project.config)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in result.stdout, result.stdout + result.stderr


def code(page: str) -> list[str]:
    """Return the blocks of Python on a page."""
    return re.findall(r"^```python\n(.*?)^```", (_PAGES / f"{page}.md").read_text(), re.MULTILINE | re.DOTALL)
