"""Whether a call is the last thing that its caller does."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from types import FrameType
from typing import Any

import pytest

from streamfea.core.last_deed import is_last_deed

SEEN: list[bool] = []


def look() -> None:
    SEEN.append(is_last_deed(sys._getframe(1), "the end"))


def plainly() -> None:
    look()


def with_value() -> Any:
    return look()


def in_try() -> None:
    try:
        look()
    except ValueError:
        len("no")


def in_branch() -> None:
    if SEEN is not None:
        look()
    else:
        len("no")


def before_print() -> None:
    look()
    len("more")


def in_try_before_print() -> None:
    try:
        look()
    except ValueError:
        return
    len("more")


def in_finally() -> None:
    try:
        look()
    finally:
        len("more")


def in_with() -> None:
    with nullcontext():
        look()


def in_loop() -> None:
    for _ in range(1):
        look()


def with_local_value() -> list[bool]:
    found = SEEN
    look()
    return found


def called_last() -> None:
    plainly()


def called_before() -> None:
    plainly()
    len("more")


def run(function: Callable[[], object]) -> bool:
    SEEN.clear()
    exec("function()", {"__name__": "the end", "function": function})
    return SEEN[0]


@pytest.mark.parametrize("function", [plainly, with_value, in_try, in_branch, called_last])
def test_it_is_the_last(function: Callable[[], object]) -> None:
    assert run(function)


@pytest.mark.parametrize(
    "function", [before_print, in_try_before_print, in_finally, in_with, in_loop, with_local_value, called_before]
)
def test_more_comes(function: Callable[[], object]) -> None:
    assert not run(function)


def test_nobody_waits_at_the_end() -> None:
    frame: FrameType | None = sys._getframe()
    assert not is_last_deed(frame, "nowhere")
