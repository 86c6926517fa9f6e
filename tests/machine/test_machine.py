"""The machine finds nothing wrong in streamfea, and what is wrong once a bug is put in.

Here is what is quick enough for every day; `just faults-check` runs the rest, and `just faults` the machine itself.
"""

from pathlib import Path

import pytest

from tests.machine.bugs import assert_found
from tests.machine.machine import run

pytestmark = [pytest.mark.timeout(300), pytest.mark.flaky(reruns=0)]


def test_every_record_becomes_what_was_promised_whatever_fails(tmp_path: Path) -> None:
    result = run(tmp_path, 5, 1, "exactly-once", kills=False)
    assert result.violations == []
    assert len(result.history.confirmed) > 100
    assert result.history.injected.total() > 0


@pytest.mark.parametrize("bug", ["acknowledge-before-commit", "skip-the-ledger"])
def test_a_bug_put_in_on_purpose_is_found(tmp_path: Path, bug: str) -> None:
    assert_found(tmp_path, bug)
