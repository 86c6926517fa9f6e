"""`just faults`: run the machine for both guarantees, print what it found, exit with 1 if that is anything."""

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from tests.machine.machine import Guarantee, run
from tests.machine.report import print_report

_BOTH: tuple[Guarantee, ...] = ("exactly-once", "at-least-once")


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float, help="for each guarantee")
    parser.add_argument("seed", type=int, nargs="?", default=secrets.randbelow(1_000_000), help="of a run to repeat")
    parser.add_argument("--guarantee", choices=_BOTH, action="append", help="only this one")
    parser.add_argument("--fault", action="append", default=[], help="only these kinds")
    parser.add_argument("--pgbouncer", action="store_true", help="put PgBouncer in transaction mode between")
    parser.add_argument("--keep", type=Path, help="leave logs and data in this folder")
    arguments = parser.parse_args()
    found = 0
    for guarantee in arguments.guarantee or _BOTH:
        with tempfile.TemporaryDirectory() as temporary:
            folder = (arguments.keep or Path(temporary)) / guarantee
            result = run(
                folder, arguments.seconds, arguments.seed, guarantee, faults=arguments.fault, pooled=arguments.pgbouncer
            )
        print_report(result, arguments.seed)
        found += len(result.violations)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
