"""Failures of one cause have one fingerprint, and others another."""

import pytest

from streamfea.core.cause import fingerprint
from streamfea.streams.consuming.last_error import LastError


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no sensor 17", "no sensor 4,711"),
        ("'celsius'", "'kelvin'"),
        ("it's 'a' or 'b'", "it's 'c' or 'd'"),
        ('no such user "ann"', 'no such user "bob"'),
        ("entry 1795734312974-2 is late", "entry 1795734399999-14 is late"),
        ("id 9f1c2d3e-0a1b-4c5d-8e9f-001122334455", "id 00000000-0a1b-4c5d-8e9f-ffffffffffff"),
        ("digest 5eb63bbbe01eeed093cb22bb8f5acdc3", "digest 0123456789abcdef0123456789abcdef"),
        ("1.5 is not 2", "17 is not 2.25"),
        ("wrong\nDETAIL: Key (a)=(1)", "wrong\nDETAIL: other"),
    ],
)
def test_values_make_no_other_cause(one: str, other: str) -> None:
    assert fingerprint("E", one, "a.py:f") == fingerprint("E", other, "a.py:f")


def test_type_place_and_words_do() -> None:
    prints = {
        fingerprint("E", "no such sensor", "a.py:f"),
        fingerprint("F", "no such sensor", "a.py:f"),
        fingerprint("E", "no such station", "a.py:f"),
        fingerprint("E", "no such sensor", "a.py:g"),
    }
    assert len(prints) == 4
    assert all(len(one) == 8 and int(one, 16) >= 0 for one in prints)


def test_names_of_columns_can_be_kept() -> None:
    one, other = 'null value in column "a"', 'null value in column "b"'
    assert fingerprint("E", one, "") == fingerprint("E", other, "")
    assert fingerprint("E", one, "", keeps_names=True) != fingerprint("E", other, "", keeps_names=True)


def test_lone_surrogates_have_a_fingerprint_too() -> None:
    assert fingerprint("E", "\udc80", "a.py:f")


def test_an_edit_above_the_function_changes_nothing() -> None:
    def raised_in(line: int, function: str) -> str:
        traceback = (
            f'Traceback (most recent call last):\n  File "/srv/readings.py", line {line}, in {function}\n    x\n'
        )
        return LastError.of("KeyError", "'celsius'", traceback).cause

    assert raised_in(23, "process") == raised_in(24, "process") != raised_in(23, "parse")
