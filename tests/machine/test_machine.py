"""The machine finds nothing wrong in streamfea, and what is wrong once a bug is put in."""

from pathlib import Path

import pytest

from tests.machine.machine import Guarantee, Result, run

pytestmark = pytest.mark.timeout(300)

# One that strikes while batches are under way, and nothing that takes long.
_KILLS = ("worker: SIGKILL",)
_SEED = 1


@pytest.mark.parametrize("guarantee", ["exactly-once", "at-least-once"])
def test_every_record_becomes_what_was_promised_whatever_fails(tmp_path: Path, guarantee: Guarantee) -> None:
    result = run(tmp_path, 8, _SEED, guarantee, kills=False)
    assert result.violations == []
    assert len(result.history.confirmed) > 100
    assert result.history.injected.total() > 0


@pytest.mark.parametrize(
    ("bug", "found", "faults"),
    [
        ("acknowledge-before-commit", "lost", _KILLS),
        ("delete-consumers-with-pending", "lost", _KILLS),
        ("trim-by-maxlen", "lost", ()),
        ("skip-the-ledger", "doubled", ("redis: group destroyed", "postgresql: answer to COMMIT lost")),
    ],
)
def test_a_bug_put_in_on_purpose_is_found(tmp_path: Path, bug: str, found: str, faults: tuple[str, ...]) -> None:
    for seconds in (8, 20, 60):  # a busy machine takes longer
        folder = tmp_path / str(seconds)
        folder.mkdir()
        result = run(folder, seconds, _SEED, "exactly-once", faults=faults, kills=False, sabotage=bug)
        if found in sorts(result):
            return
    raise AssertionError(f"found {result.violations}, not {found}")


def sorts(result: Result) -> set[str]:
    return {violation.sort for violation in result.violations}
