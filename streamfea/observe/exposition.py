"""The figures of the work as Prometheus reads them (its text format, and OpenMetrics for those who ask for it)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from streamfea.observe.figures import COUNTERS, HISTOGRAMS, Counter, Figures, Histogram, Row

__all__ = ["WorkCollector", "exposition"]

_PREFIX = "streamfea_"


def exposition(collectors: Iterable[Collector], accept: str = "") -> tuple[bytes, str]:
    """Return the figures of these collectors and the content type, by the `Accept` header of the request."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in collectors:
        registry.register(collector)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class WorkCollector(Collector):
    """The figures of the work, of each queue: the sums over its workers' places."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the names are the registry's alone."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with the present figures."""
        queues = self._figures.by_queue()
        yield InfoMetricFamily(f"{_PREFIX}build", "The version of streamfea.", {"version": version("streamfea")})
        for counter in COUNTERS:
            yield _counter(counter, queues)
        for histogram in HISTOGRAMS:
            yield _histogram(histogram, queues)
        yield _gauge("workers", "Worker processes that run.", queues, lambda row: row.pid != 0)
        yield _gauge("workers_ready", "Worker processes that have joined their group.", queues, lambda row: row.ready)


def _counter(counter: Counter, queues: dict[str, list[Row]]) -> Metric:
    labels = ["queue", counter.label] if counter.label else ["queue"]
    family = CounterMetricFamily(f"{_PREFIX}{counter.name}", counter.help, labels=labels)
    for queue, rows in queues.items():
        for value in counter.values:
            total = sum(row.total(counter.name, value) for row in rows)
            family.add_metric([queue, _label(value)] if counter.label else [queue], total)
    return family


def _histogram(histogram: Histogram, queues: dict[str, list[Row]]) -> Metric:
    family = HistogramMetricFamily(f"{_PREFIX}{histogram.name}", histogram.help, labels=["queue"])
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    for queue, rows in queues.items():
        buckets, total = _sum([row.distribution(histogram.name) for row in rows])
        family.add_metric([queue], list(zip(bounds, accumulate(buckets), strict=True)), total)
    return family


def _sum(distributions: Sequence[tuple[list[float], float]]) -> tuple[list[float], float]:
    return [sum(column) for column in zip(*(buckets for buckets, _ in distributions), strict=True)], sum(
        total for _, total in distributions
    )


def _gauge(name: str, text: str, queues: dict[str, list[Row]], counts: Callable[[Row], bool]) -> Metric:
    family = GaugeMetricFamily(f"{_PREFIX}{name}", text, labels=["queue"])
    for queue, rows in queues.items():
        family.add_metric([queue], sum(map(counts, rows)))
    return family


def _label(value: str) -> str:
    return value.lower() if value in {"Redis", "PostgreSQL"} else value
