"""Run a contender on records that wait for it, and look at it from outside.

The clock runs from the moment at which a twentieth of the records is acknowledged to that at which all are: no start of
an interpreter is in it. Then every row is counted.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.contenders import Contender
from benchmarks.servers import Servers

__all__ = ["Measured", "Summary", "cpu_seconds", "measure", "peak_mib", "started", "summary", "wait_until"]

# Seldom, for the measuring process shares the cores; what takes milliseconds is looked at more often.
_LOOK_EVERY_SECONDS = 0.01
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: records a second, CPU in µs a record, and the peak memory of the contender's largest process."""

    rate: float
    client_us: float
    postgresql_us: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Medians of several runs, and the lowest and the highest rate."""

    rate: float
    lowest: float
    highest: float
    client_us: float
    postgresql_us: float
    peak_mib: float


def measure(servers: Servers, contender: Contender, records: list[bytes], *, rows: int | None = None) -> Measured:
    """Run a contender once; raises `AssertionError` unless it wrote `rows` rows, by default one for each record."""
    servers.empty()
    count = len(records)
    with servers.client() as client:
        contender.fill(client, records)
        with started(servers, contender) as process:

            def wait_for(acknowledged: int) -> tuple[float, float, float]:
                wait_until(lambda: contender.acknowledged(client) >= acknowledged, contender.name, process=process)
                return time.perf_counter(), cpu_seconds(process.pid), cpu_seconds(servers.postmaster)

            before_count = max(1, count // 20)
            before = wait_for(before_count)
            before_count = contender.acknowledged(client)
            after = wait_for(count)
            peak = peak_mib(process.pid)
            expected = count if rows is None else rows
            wait_until(lambda: servers.rows(contender.table) >= expected, contender.name, seconds=10)
    if servers.rows(contender.table) != expected:
        raise AssertionError(f"{contender.name}: {servers.rows(contender.table)} rows, not {expected}")
    seconds, client_cpu, postgresql_cpu = (later - earlier for earlier, later in zip(before, after, strict=True))
    done = count - before_count
    return Measured(done / seconds, client_cpu / done * 1e6, postgresql_cpu / done * 1e6, peak)


def summary(runs: Sequence[Measured]) -> Summary:
    """Return the medians."""
    rates = [run.rate for run in runs]
    return Summary(
        statistics.median(rates),
        min(rates),
        max(rates),
        statistics.median(run.client_us for run in runs),
        statistics.median(run.postgresql_us for run in runs),
        statistics.median(run.peak_mib for run in runs),
    )


@contextmanager
def started(servers: Servers, contender: Contender) -> Iterator[psutil.Popen]:
    """Start a contender, and stop it and all that it has started."""
    log = servers.folder / "contender.log"
    with log.open("w") as file:
        process = psutil.Popen(
            [sys.executable, *contender.command], env=servers.environment(), stdout=file, stderr=subprocess.STDOUT
        )
    try:
        yield process
    except BaseException:
        sys.stderr.write(f"{contender.name}:\n{_tail(log)}\n")
        raise
    finally:
        _end(process)


def wait_until(
    condition: Callable[[], bool],
    what: str,
    *,
    process: psutil.Popen | None = None,
    seconds: float = _PATIENCE_SECONDS,
    every_seconds: float = _LOOK_EVERY_SECONDS,
) -> None:
    """Look until `condition` holds; raise `TimeoutError` when it does not in time, or `process` has ended."""
    deadline = time.perf_counter() + seconds
    while not condition():
        if process is not None and process.poll() is not None:
            raise TimeoutError(f"{what}: ended with {process.returncode}")
        if time.perf_counter() > deadline:
            raise TimeoutError(f"{what}: not done after {seconds:.0f} seconds")
        time.sleep(every_seconds)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and of those that it started."""
    return sum(_cpu(process) for process in _tree(pid))


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def peak_mib(pid: int) -> float:
    """Return the largest VmHWM (proc(5)) of a process and those that it started."""
    peaks = [0]
    for process in _tree(pid):
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
        peaks += [int(line.split()[1]) for line in status if line.startswith("VmHWM")]
    return max(peaks) / 1024


def _tree(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _end(process: psutil.Popen) -> None:
    family = process.children(recursive=True) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(10)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait()
    for one in family:
        if one.is_running():
            one.kill()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
