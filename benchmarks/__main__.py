"""Measure on servers of our own, with fsync on.

    python -m benchmarks            everything, and write docs/benchmarks.md and its picture
    python -m benchmarks NAME...    some of it, and write nothing
    python -m benchmarks quick      ratios to the floor; exits with 1 when one has fallen
    python -m benchmarks profile    where the time of a record goes

`--scale 0.1` takes a tenth of the records, `--scale 10` ten times as many.
"""

import argparse
import sys
import time
from importlib import import_module

from rich.console import Console

from benchmarks import page, quick
from benchmarks.section import Section
from benchmarks.servers import Servers, running_servers

# In the order of the page. Some need libraries of the extra `bench`, so they are imported when asked for.
_ALL = ("throughput", "flights", "spoiled", "slow", "idle", "memory", "scaling", "typed_records", "shim", "operators")

_WIDTH = 160


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=f"Measures: {', '.join(_ALL)}.")
    parser.add_argument("names", nargs="*", choices=[*_ALL, "quick", "profile", []], metavar="NAME")
    parser.add_argument("--scale", type=float, default=1.0)
    arguments = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    started = time.monotonic()
    with running_servers() as servers:
        if arguments.names == ["quick"]:
            quick.run(servers, console)
        elif arguments.names == ["profile"]:
            import_module("benchmarks.profile").run(servers, console, arguments.scale)
        else:
            sections = [_run(name, servers, console, arguments.scale) for name in arguments.names or _ALL]
            if not arguments.names:
                page.write(sections, servers.version(), time.monotonic() - started)


def _run(name: str, servers: Servers, console: Console, scale: float) -> Section:
    section: Section = import_module(f"benchmarks.{name}").run(servers, scale)
    section.print(console)
    return section


main()
