"""`python -m benchmarks [NAME]...`: measure on servers of our own, with fsync on, and print what came out.

Runs that are compared are interleaved in one go, because machines are noisy; what counts is the ratio of medians.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks import clean_rate, memory, scaling, shim, typed_records
from benchmarks.servers import Servers
from streamfea.embedded import ensure_postgresql, ensure_valkey, stop

_ALL: dict[str, Callable[[Servers, Console, bool], None]] = {
    "clean": clean_rate.clean,
    "spoiled": clean_rate.spoiled,
    "scaling": scaling.run,
    "memory": memory.run,
    "typed-records": typed_records.run,
    "shim": shim.run,
}


def main() -> None:
    quick = "--quick" in sys.argv
    wanted = [argument for argument in sys.argv[1:] if not argument.startswith("-")] or list(_ALL)
    unknown = set(wanted) - set(_ALL)
    if unknown:
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(_ALL)}")
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="streamfea-bench-", ignore_cleanup_errors=True) as folder:
        valkey, postgresql = Path(folder) / "valkey", Path(folder) / "postgresql"
        try:
            servers = Servers(ensure_valkey(valkey), ensure_postgresql(postgresql), Path(folder))
            for name in wanted:
                _ALL[name](servers, console, quick)
        finally:
            stop(valkey)
            stop(postgresql)


main()
