"""`streamfea consume` on a queue of the benchmark's configuration."""

import os
from functools import partial

from benchmarks.contenders.contender import Contender, acknowledged_by_group, add_to_stream


def contender(name: str, queue: str, *, table: str = "my_event", workers: int = 1) -> Contender:
    """Return one that consumes `queue`, whose stream has its name."""
    return Contender(
        name,
        (
            *("-m", "streamfea", "consume", queue, "--workers", str(workers)),
            *("-c", os.environ["BENCHMARK_CONFIG"]),
        ),
        partial(add_to_stream, stream=queue, group="streamfea"),
        partial(acknowledged_by_group, stream=queue, group="streamfea"),
        commits_each=False,
        isolates=True,
        table=table,
    )
