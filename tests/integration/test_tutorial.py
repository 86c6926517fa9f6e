"""The tutorial, run as it stands there."""

import re
from pathlib import Path

import pytest

from tests.support.pages import PAGES, Page
from tests.support.waiting import wait_until


@pytest.mark.timeout(180)
def test_the_tutorial_says_what_happens(tmp_path: Path) -> None:
    tutorial = (PAGES.parent / "tutorial.md").read_text()
    handler, rejecting = re.findall(r"```python\n(.*?)```", tutorial, re.DOTALL)
    configuration, _ = re.findall(r"```toml\n(.*?)```", tutorial, re.DOTALL)
    (tmp_path / "readings.py").write_text(handler)
    (tmp_path / "streamfea.toml").write_text(configuration)
    (tmp_path / "readings.jsonl").write_text(re.findall(r"```json\n(.*?)```", tutorial, re.DOTALL)[0])
    page = Page("../tutorial", tmp_path, {})
    for beginning in ("mkdir", "python3 -m venv", "pip install"):
        page.skip(beginning)
    try:
        [_, checked, _] = page.run("streamfea --version", "streamfea check", "streamfea initdb", codes=(0, 1))
        assert "1 problem found." in checked
        with page.running("streamfea consume"):
            page.run("streamfea produce")
            wait_until(lambda: "retrying" in page.also("streamfea pending"), "the third record has failed")
            [rows, pending] = page.run("streamfea embedded sql", "streamfea pending")
            assert "(3 rows)" in rows
            assert "NotNullViolation" in pending
            wait_until(lambda: "1 dead letter" in page.also("streamfea status"), "it is a dead letter")
            [_, dead] = page.run("streamfea status", "streamfea dead list readings")
            assert re.search(r"failed +5 ", dead)
        before, _, _ = handler.replace("import json", "from typing import TypedDict").partition("def process")
        (tmp_path / "readings.py").write_text(before + rejecting)
        [_, log, status] = page.run("streamfea produce", "streamfea consume --until-empty", "streamfea status")
        assert "reason=rejected" in log
        assert "2 dead letters" in status
    finally:
        page.also("streamfea embedded stop")
    page.skip("streamfea embedded stop")
    page.assert_done()
