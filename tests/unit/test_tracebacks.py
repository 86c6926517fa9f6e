"""The traceback in a dead letter is Python's own, without the carets."""

import re
import time
import traceback

import pytest

from streamfea.worker.settlement import _traceback


def raised(how: str) -> Exception:
    try:
        try:
            int("no number")
        except ValueError as error:
            if how == "from":
                raise KeyError("x") from error
            if how == "from none":
                raise KeyError("x") from None
            if how == "group":
                raise ExceptionGroup("two", [error, KeyError("x")]) from error
            raise KeyError("x")  # noqa: B904 - that is what is tried
    except Exception as error:
        return error
    raise AssertionError


@pytest.mark.parametrize("how", ["from", "from none", "during", "group"])
def test_it_is_what_python_prints(how: str) -> None:
    error = raised(how)
    printed = "".join(traceback.format_exception(error))
    assert without_carets(_traceback(error)) == without_carets(printed)
    assert "^" not in _traceback(error) or how == "group"


def test_a_circle_of_causes_ends() -> None:
    error = raised("from")
    assert error.__cause__ is not None
    error.__cause__.__context__ = error
    assert len(re.findall("^KeyError", _traceback(error), re.MULTILINE)) == 1


def test_of_a_chain_of_any_length_the_last_are_printed_at_once() -> None:
    error: Exception | None = None
    for number in range(5_000):
        following = ValueError(number)
        following.__cause__ = error
        error = following
    assert error is not None
    started = time.monotonic()
    printed = _traceback(error)
    assert time.monotonic() - started < 0.5
    assert "ValueError: 4999" in printed
    assert "ValueError: 4960" in printed


def test_notes_are_printed_and_an_error_that_cannot_be() -> None:
    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    error = UnspeakableError()
    error.add_note("a note")
    assert "its text could not be made: ValueError\na note" in _traceback(error)


def without_carets(text: str) -> str:
    return re.sub(r"\n[ |]*[\^~]+(?=\n)", "", text)
