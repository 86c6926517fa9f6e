"""What is remembered of an entry's last failure: the Lua scripts read it as well."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamfea.streams.consuming.last_error import LastError

_TEXT = st.text(st.characters(codec="utf-8"))
_MS = st.integers(min_value=0, max_value=2**53)
_ERRORS = st.builds(LastError, _TEXT, _TEXT, _TEXT, _MS, _MS, _TEXT)


@given(_ERRORS)
def test_what_is_written_reads_as_it_was(error: LastError) -> None:
    assert LastError.from_json(error.to_json()) == error
    assert LastError.from_json(error.to_json().encode()) == error


@pytest.mark.parametrize("nothing", ["", b""])
def test_nothing_remembered_is_no_error(nothing: bytes | str) -> None:
    assert LastError.from_json(nothing) is None


def test_only_what_is_there_is_written_and_when_it_is_due_always() -> None:
    assert json.loads(LastError("ValueError", "größer").to_json()) == {
        "type": "ValueError",
        "error": "größer",
        "due_ms": 0,
    }


def test_people_who_look_into_redis_can_read_it() -> None:
    assert "größer" in LastError("ValueError", "größer").to_json()


def test_a_lonely_run_keeps_the_error_and_makes_it_due_at_once() -> None:
    error = LastError("ValueError", "x", "frames", failed_at_ms=5, due_ms=9)
    assert error.running_alone("host-1") == LastError("ValueError", "x", "frames", failed_at_ms=5, alone="host-1")


def test_a_failure_gets_its_times() -> None:
    assert LastError("ValueError", "x").due(failed_at_ms=5, due_ms=9) == LastError(
        "ValueError", "x", failed_at_ms=5, due_ms=9
    )


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (LastError("ValueError", "no number"), "ValueError: no number"),
        (LastError("DataError", "too long\nLINE 1: …\n^"), "DataError: too long"),
        (LastError("KeyError"), "KeyError"),
    ],
)
def test_a_summary_is_one_line(error: LastError, line: str) -> None:
    assert error.summary == line


_FLUSH = '  File "/x/lib/python3.11/site-packages/sqlalchemy/orm/session.py", line 4331, in flush'
_WARNED = '  File "<sqlalchemy generated warned() wrapper for Session._flush>", line 2, in _flush'
_RUN = '  File "/x/streamfea/worker/transaction.py", line 232, in _run'
_OWN = '  File "/home/me/streamfea/handlers_example/shop.py", line 17, in process'
_INSTALLED = '  File "/x/lib/python3.11/site-packages/shop/__init__.py", line 5, in process'
_PYTHON = '  File "/x/lib/python3.11/json/decoder.py", line 338, in decode'


@pytest.mark.parametrize(
    ("frames", "where"),
    [
        ([_RUN, _OWN, _PYTHON], "shop.py:17"),
        ([_RUN, _OWN, _FLUSH, _WARNED], "shop.py:17"),
        ([_RUN, _INSTALLED, _FLUSH], "__init__.py:5"),
        ([_RUN, _FLUSH, _WARNED], ""),  # the row is refused when the record has ended
        ([], ""),
    ],
)
def test_the_line_is_the_handlers_or_nobodys(frames: list[str], where: str) -> None:
    traceback = "\n".join(["Traceback (most recent call last):", *frames, "ValueError: no"])
    assert LastError("ValueError", "no", traceback).where == where
