"""What a line of the log may hold: nothing that a terminal or a reader takes for something else."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from streamfea.config.sections import LogSettings
from streamfea.observe.logs import configure_logging

_RECORD = "a\x1b[2J\rb\n2026-11-26 12:00:00 [info     ] forged\x9b31m\u202e\udc80"

Logged = Callable[[Any], str]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Logged]:
    """Return what is written when a record has been logged in every way, in a format."""
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level

    def log_all(form: Any) -> str:
        written = io.StringIO()
        monkeypatch.setattr(sys, "stderr", written)
        configure_logging(LogSettings(level="debug", format=form))
        for log in (structlog.get_logger("streamfea.test"), logging.getLogger("handler")):
            log.warning(_RECORD)
            try:
                fail()
            except ValueError:
                log.exception("failed", stack_info=True)
        structlog.get_logger("mine").info("ok", value=_RECORD, listed=[_RECORD], **{_RECORD: 1})
        return written.getvalue()

    yield log_all
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)
    structlog.reset_defaults()


def fail() -> None:
    raise ValueError(_RECORD)


def test_a_record_gives_no_orders_to_a_terminal_and_forges_no_line(logged: Logged) -> None:
    said = logged("console")
    assert all(one.isprintable() for line in said.split("\n") for one in line)
    assert r"\x1b[2J\r" in said
    assert r"\x9b31m\u202e\x80" in said
    own = [line for line in said.splitlines() if line.strip("=") and not line.startswith("    ")]
    assert len(own) == 5, "the others are indented"
    assert all("Z [" in line for line in own)


def test_a_log_in_json_writes_out_what_cannot_be_shown(logged: Logged) -> None:
    said = logged("json")
    assert all(one.isprintable() for line in said.split("\n") for one in line)
    lines = [json.loads(line) for line in said.splitlines()]
    assert len(lines) == 5
    assert [line["event"] for line in lines] == [_RECORD, "failed", _RECORD, "failed", "ok"]
    assert lines[-1]["value"] == _RECORD
    assert lines[1]["exception"][0]["exc_value"] == _RECORD


def test_what_can_be_shown_is_shown_as_it_is(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "_RECORD", "grüße 日本 🙂")
    assert logged("json").count("grüße 日本 🙂") >= 8
    assert logged("console").count("grüße 日本 🙂") >= 8
