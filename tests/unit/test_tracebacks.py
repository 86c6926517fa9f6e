"""The traceback in a dead letter is Python's own, without the carets."""

import re
import traceback

import pytest

from streamfea.work.settle import _traceback


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


def without_carets(text: str) -> str:
    return re.sub(r"\n[ |]*[\^~]+(?=\n)", "", text)
