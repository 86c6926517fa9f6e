"""Whether the machine finds the bugs that it is given."""

from pathlib import Path

from tests.machine.machine import run

__all__ = ["BUGS", "assert_found"]

_KILLS = ("worker: SIGKILL",)
_AGAIN = ("redis: group destroyed", "postgresql: answer to COMMIT lost")

# What it has to say about each bug, and the faults under which that shows within seconds.
BUGS = {
    "acknowledge-before-commit": ("lost", _KILLS),
    "delete-consumers-with-pending": ("lost", _KILLS),
    "trim-by-maxlen": ("lost", ("postgresql: table locked",)),
    "skip-the-ledger": ("doubled", _AGAIN),
}


def assert_found(folder: Path, bug: str) -> None:
    """Put the bug in, run the machine for some seconds, longer where the computer is slow, and see what it says."""
    sort, faults = BUGS[bug]
    for seconds in (6, 15, 45):
        (folder / str(seconds)).mkdir()
        result = run(folder / str(seconds), seconds, 1, "exactly-once", faults=faults, kills=False, sabotage=bug)
        if sort in {violation.sort for violation in result.violations}:
            return
    raise AssertionError(f"{bug}: found {result.violations}, not {sort}")
