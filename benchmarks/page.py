"""docs/benchmarks.md and its picture, made of what a run has found out."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks.section import Section

_DOCS = Path(__file__).parents[1] / "docs"
_PAGE, _PICTURE = "benchmarks.md", "benchmarks.svg"
_LIBRARIES = ("sqlalchemy", "psycopg", "redis", "hiredis", "celery", "dramatiq", "faststream", "taskiq", "taskiq-redis")


def write(sections: Sequence[Section], servers: str, seconds: float) -> None:
    """Write both files."""
    for section in sections:
        if section.chart:
            (_DOCS / _PICTURE).write_text(section.chart, encoding="utf-8")
    text = "\n".join([_introduction(servers, seconds), *(section.markdown(_PICTURE) for section in sections)])
    (_DOCS / _PAGE).write_text(text, encoding="utf-8")


def _introduction(servers: str, seconds: float) -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return f"""\
# Benchmarks

This page is written by `uv run just bench`, last on {datetime.now(UTC):%d %B %Y}, in {seconds / 60:.0f} minutes. Repeat
it on your machine: only the ratios of one run mean something elsewhere. `uv run just bench slow idle` measures some of
it and writes nothing; `uv run just bench-quick` tells in less than a minute whether it has become slower.

- **Machine**: {os.cpu_count()} cores ({_processor()}), {psutil.virtual_memory().total / 2**30:.0f} GiB,
  {platform.system()} {platform.release()}, load {psutil.getloadavg()[0]:.1f} at the end. Workers, both servers and the
  measuring process share it.
- **Servers**: {servers}; started for this run, in a temporary folder.
- **Versions**: Python {platform.python_version()}, {libraries}.
- **Method**: records are put where a contender looks for them, then it is started. The clock runs from the moment at
  which a twentieth of them is acknowledged to that at which all are, so that no start is in it. Then the rows are
  counted, after every run. Contenders are written as their own documentation says, one file each in
  `benchmarks/contenders/`.
"""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
