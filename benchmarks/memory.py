"""The memory of a worker while it works off portion after portion, and what is left in Redis."""

from redis import Redis

from benchmarks.contenders.streamfea_queue import contender
from benchmarks.measure import peak_mib, started, wait_until
from benchmarks.section import Section
from benchmarks.servers import Servers, events

_PORTIONS = 10
_TRIMMED_WITHIN_SECONDS = 10.0


def run(servers: Servers, scale: float) -> Section:
    """Put ten portions on the stream, one after the other, and read the worker's peak memory after each."""
    portion = int(100_000 * scale)
    servers.empty()
    ours = contender("streamfea, memory", "events")
    records = events(portion)
    peaks: list[float] = []
    with servers.client() as client, started(servers, ours) as process:
        wait_until(lambda: bool(client.exists("events")), "the group")
        for number in range(1, _PORTIONS + 1):
            with client.pipeline(transaction=False) as pipeline:
                for record in records:
                    pipeline.xadd("events", {"record": record})
                pipeline.execute()
            wait_until(lambda done=number * portion: ours.acknowledged(client) >= done, ours.name)  # type: ignore[misc]  # bound at once
            [worker] = process.children()  # of the supervisor, whose memory has what the command line loads, too
            peaks.append(peak_mib(worker.pid))
        wait_until(lambda: _entries(client) == 0, "an empty stream", seconds=_TRIMMED_WITHIN_SECONDS)
        left = sum(int(client.memory_usage(key) or 0) for key in client.keys("*"))
    if servers.rows() != _PORTIONS * portion:
        raise AssertionError(f"{servers.rows()} rows, not {_PORTIONS * portion}")
    return Section(
        "Memory",
        f"Peak resident memory of a worker in MiB, after every {portion:,} of {_PORTIONS * portion:,} records.",
        tuple(f"{number * portion:,}" for number in range(1, _PORTIONS + 1)),
        [[f"{peak:.1f}" for peak in peaks]],
        f"Then all of Redis' keys together take {left / 1024:.1f} KiB, and the stream holds no entry.",
    )


def _entries(client: Redis) -> int:
    return int(client.xlen("events"))
