"""The mutation score of each module, from what mutmut has left in mutants/; exit status 1 where one is too low.

A mutant counts as killed when a test failed or ran for too long; every other one counts as survived, also where there
is no test for it.
"""

import json
import sys
from collections import Counter
from pathlib import Path

_LEAST = 0.85
_MUTANTS = Path("mutants")
# mutmut's exit codes: a test failed, an error inside pytest, and those of a run that took too long.
_KILLED = {1, 3}
_TOO_LONG = {24, -24, 36, 152, 255}


def main() -> int:
    total: Counter[str] = Counter()
    low = False
    print(f"{'module':<36}{'mutants':>8}{'killed':>8}{'score':>8}")
    for path in sorted(_MUTANTS.rglob("*.py.meta")):
        codes = json.loads(path.read_text())["exit_code_by_key"].values()
        if codes:
            killed = sum(code in _KILLED | _TOO_LONG for code in codes)
            _print(str(path.relative_to(_MUTANTS)).removesuffix(".meta"), len(codes), killed)
            low |= killed < _LEAST * len(codes)
            total.update(mutants=len(codes), killed=killed)
    if not total:
        print("mutmut has left nothing to count", file=sys.stderr)
        return 1
    _print("all", total["mutants"], total["killed"])
    return int(low)


def _print(name: str, mutants: int, killed: int) -> None:
    print(f"{name:<36}{mutants:>8}{killed:>8}{killed / mutants:>8.1%}")


if __name__ == "__main__":
    sys.exit(main())
