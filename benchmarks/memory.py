"""The memory of a worker while it works off a million records."""

import subprocess
import sys
import time

import psutil
from rich.console import Console

from benchmarks.servers import Servers, fill_stream

_TENTHS = 10


def run(servers: Servers, console: Console, quick: bool) -> None:
    """Put ten portions on the stream, one after the other, and print the worker's peak memory after each."""
    portion = 10_000 if quick else 100_000
    servers.empty()
    command = [sys.executable, "-m", "streamfea", "consume", "-c", str(servers.config())]
    peaks: list[float] = []
    with subprocess.Popen(command) as supervisor, servers.client() as client:
        try:
            for number in range(1, _TENTHS + 1):
                fill_stream(client, portion)
                while servers.rows() < number * portion:
                    time.sleep(0.2)
                peaks.append(_peak_mib(supervisor.pid))
                client.xtrim("events", maxlen=0)
        finally:
            supervisor.terminate()
    console.print(
        f"\nmemory: peak resident memory of one worker, after every {portion:,} of {_TENTHS * portion:,} records"
    )
    console.print("  " + "  ".join(f"{peak:.1f}" for peak in peaks) + " MiB")
    console.print(f"  first {peaks[0]:.1f} MiB, last {peaks[-1]:.1f} MiB: {peaks[-1] - peaks[0]:+.1f} MiB")


def _peak_mib(supervisor: int) -> float:
    """Return the worker's VmHWM (proc(5)), the most it ever had in memory."""
    [worker] = psutil.Process(supervisor).children()
    with open(f"/proc/{worker.pid}/status", encoding="ascii") as status:  # noqa: PTH123 - a path, but no file
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
