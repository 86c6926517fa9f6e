"""All that `just faults-check` runs: every bug is found, and at-least-once holds as well."""

from pathlib import Path

import pytest

from tests.machine.bugs import BUGS, assert_found
from tests.machine.machine import run

pytestmark = [pytest.mark.timeout(300), pytest.mark.flaky(reruns=0)]


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_put_in_on_purpose_is_found(tmp_path: Path, bug: str) -> None:
    assert_found(tmp_path, bug)


def test_at_least_once_is_kept(tmp_path: Path) -> None:
    result = run(tmp_path, 15, 1, "at-least-once")
    assert result.violations == []
