"""The figures of queues as Prometheus reads them; needs the extra `metrics`."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streamfea.admin.queue_figures import QueueFigures, Seen
from streamfea.streams.operating.dead_reasons import REASONS
from streamfea.streams.operating.status import QueueStatus

__all__ = ["GAUGES", "QueueCollector"]

_PREFIX = "streamfea_queue_"
# What each gauge is, and how it comes from a queue's figures and the seconds since they were read.
GAUGES: dict[str, tuple[str, Callable[[QueueStatus, float], float]]] = {
    "lag_entries": ("Entries that the group has not been given yet.", lambda status, _: status.lag),
    "lag_seconds": (
        "Time since the oldest of these was added; 0 if there is none.",
        lambda status, since: _seconds(status.lag_ms, since),
    ),
    "pending_entries": ("Entries that were delivered and are not acknowledged.", lambda status, _: status.pending),
    "retrying_entries": ("Pending entries that have failed, or are tried again.", lambda status, _: status.retrying),
    "oldest_pending_seconds": (
        "Time since the oldest pending entry was added; 0 if there is none.",
        lambda status, since: _seconds(status.oldest_pending_ms, since),
    ),
    "backlog_entries": (
        "Entries that wait for a worker, to scale by: the lag, what is retrying, and what a dead worker has left.",
        lambda status, _: status.backlog,
    ),
    "consumers": ("Consumers that live.", lambda status, _: status.consumers),
}


class QueueCollector(Collector):
    """The figures of each queue, as they were read last; times go on. What cannot be read has none, only `up` 0."""

    def __init__(self, figures: QueueFigures) -> None:
        self._figures = figures

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the names are the registry's alone."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with the present figures."""
        now, seen = time.monotonic(), self._figures.seen
        up = GaugeMetricFamily(f"{_PREFIX}up", "Whether the queue's figures can be read.", labels=["queue"])
        age = GaugeMetricFamily(f"{_PREFIX}figures_age_seconds", "Time since they were read.", labels=["queue"])
        for one in seen:
            up.add_metric([one.figures.queue], float(isinstance(one.figures, QueueStatus)))
            if isinstance(one.figures, QueueStatus):
                age.add_metric([one.figures.queue], now - one.at)
        yield from (up, age, *_gauges(seen, now), _dead(seen))
        yield CounterMetricFamily(
            "streamfea_exporter_redis_commands",
            "Commands that Redis has run for these figures.",
            self._figures.commands,
        )


def _gauges(seen: Sequence[Seen], now: float) -> Iterator[Metric]:
    for name, (text, value) in GAUGES.items():
        family = GaugeMetricFamily(f"{_PREFIX}{name}", text, labels=["queue"])
        for one in seen:
            if isinstance(one.figures, QueueStatus):
                family.add_metric([one.figures.queue], value(one.figures, now - one.at))
        yield family


def _dead(seen: Sequence[Seen]) -> Metric:
    family = GaugeMetricFamily(f"{_PREFIX}dead_entries", "Dead letters, by reason.", labels=["queue", "reason"])
    for one in seen:
        if isinstance(one.figures, QueueStatus):
            for reason in dict.fromkeys([*REASONS, *one.reasons]):
                family.add_metric([one.figures.queue, reason], one.reasons.get(reason, 0))
    return family


def _seconds(age_ms: int | None, since: float) -> float:
    return 0.0 if age_ms is None else age_ms / 1000 + since
