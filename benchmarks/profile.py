"""Where the time of a record goes: a worker, sampled from outside by py-spy, which does not slow it down.

Each sample belongs to the innermost function of the table below that is on the stack. What is sampled is a worker that
runs; waiting for a server is not in it.
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path

from rich.console import Console

from benchmarks.contenders import load
from benchmarks.section import Section
from benchmarks.servers import Servers, events

_SAMPLES_PER_SECOND = 500
# By queue: its title, and the contender.
_HANDLERS = {
    "events": ("process()", "streamfea_process"),
    "once": ("exactly-once", "streamfea_once"),
    "batch": ("process_batch()", "streamfea_batch"),
}

# Functions by file and name, and what they are for.
_PHASES = {
    ("json/__init__.py", "loads"): "handler: `json.loads`",
    ("streamfea/orm/lazy_state.py", "__call__"): "handler: the model's constructor",
    ("database/session/session.py", "add"): "handler: `dbsession.add`",
    ("handlers_example/events.py", "process"): "handler: the rest",
    ("benchmarks/handlers/batch.py", "process_batch"): "handler: the rest",
    ("psycopg/_copy.py", "write_row"): "COPY: rows to text",
    ("psycopg/copy.py", "write_row"): "COPY: rows to text",
    ("psycopg/_copy_base.py", "write_row"): "COPY: rows to text",
    ("database/copy/plans.py", "row"): "values of the objects",
    ("database/session/new_rows.py", "keep"): "values of the objects",
    ("database/session/new_rows.py", "start_writing"): "COPY: rows to PostgreSQL",
    ("database/copy/writer.py", "finish"): "COPY: its answer",
    ("database/exactly_once/ledger.py", "enter"): "ledger",
    ("database/session/new_rows.py", "commit_started"): "COMMIT, exactly-once's ledger with it",
    ("database/session/shared.py", "commit"): "COMMIT, exactly-once's ledger with it",
    ("database/session/own.py", "commit"): "COMMIT, exactly-once's ledger with it",
    ("database/session/shared.py", "share"): "BEGIN",
    ("database/session/own.py", "discard"): "letting go of the session",
    ("database/session/shared.py", "begin_record"): "between records: session",
    ("database/session/shared.py", "keep_record"): "between records: session",
    ("worker/transaction.py", "_run_together"): "between records: loop, isolation",
    ("worker/transaction.py", "_run_in_company"): "between records: loop, isolation",
    ("streams/consuming/reader.py", "receive"): "XREADGROUP's and XACK's replies",
    ("streams/consuming/reader.py", "read"): "XREADGROUP's and XACK's replies",
    ("streams/consuming/reader.py", "read_ahead"): "asking for them",
    ("worker/janitor.py", "tidy"): "trimming",
    ("worker/held.py", "add"): "leases",
    ("worker/held.py", "drop"): "leases",
    ("worker/settlement.py", "settle"): "settling",
    ("worker/processing.py", "_settle_all"): "settling",
    ("worker/loop.py", "_go_round"): "the rest of the loop",
}


def run(servers: Servers, console: Console, scale: float) -> None:
    """Profile each way and print what a record costs, in µs."""
    count = int(100_000 * scale)
    samples = {title: _samples(servers, queue, count) for queue, (title, _) in _HANDLERS.items()}
    first = next(iter(samples.values()))
    phases = sorted({phase for seen in samples.values() for phase in seen}, key=lambda phase: -first[phase])
    Section(
        "Where the time of a record goes",
        f"Share of the samples, {_SAMPLES_PER_SECOND} a second while {count:,} records are worked off.",
        ("phase", *samples),
        [[phase, *(_share(seen, phase) for seen in samples.values())] for phase in phases],
    ).print(console)


def _share(samples: Counter[str], phase: str) -> str:
    return f"{samples[phase] / samples.total():.1%}" if phase in samples else ""


def _samples(servers: Servers, queue: str, count: int) -> Counter[str]:
    servers.empty()
    with servers.client() as client:
        load(_HANDLERS[queue][1]).fill(client, events(count))
    stacks = servers.folder / "stacks"
    consume = ["streamfea", "consume", queue, "--workers", "0", "--until-empty", "-c", str(servers.config)]
    spy = [str(Path(sys.executable).with_name("py-spy")), "record", "--format", "raw", "--output", str(stacks)]
    spy += ["--rate", str(_SAMPLES_PER_SECOND), "--full-filenames", "--nolineno"]
    command = [*spy, "--", sys.executable, "-m", *consume]
    subprocess.run(command, check=True, capture_output=True, env=servers.environment())
    if servers.rows() != count:
        raise AssertionError(f"{servers.rows()} rows, not {count}")
    samples = Counter[str]()
    for line in stacks.read_text(encoding="utf-8").splitlines():
        stack, _, number = line.rpartition(" ")
        phase = _phase(stack.split(";"))
        if phase is not None:
            samples[phase] += int(number)
    return samples


def _phase(stack: list[str]) -> str | None:
    """Return what the innermost known function is for; None outside of the loop."""
    for frame in reversed(stack):
        function, _, path = frame.rstrip(")").partition(" (")
        for (file, name), phase in _PHASES.items():
            if name == function.rpartition(".")[2] and path.endswith(file):
                return phase
    return None
