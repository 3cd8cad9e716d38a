"""
The metrics of a worker, under the names that dashboards rely on.

Events feed counters and histograms; gauges are computed from the running tasks at each scrape.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

DELIVERY_BUCKETS_SECS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
AGE_BUCKETS_SECS = (0.1, 0.25, 0.5, 1, 2.5, 5, 7.5, 10, 15, 30, 60, 120, 300, 3600)


class WeightedHistogram(Collector):
    """A histogram that counts one value for many posts in one call; prometheus_client's needs a call for each post."""

    def __init__(self, name: str, documentation: str, buckets: Sequence[float], registry: CollectorRegistry) -> None:
        self._name, self._documentation = name, documentation
        self._bounds = tuple(buckets)
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, value: float, weight: int = 1) -> None:
        """Count *weight* posts that took *value* seconds."""
        self._counts[bisect_left(self._bounds, value)] += weight
        self._sum += value * weight

    def collect(self) -> Iterable[Metric]:
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(self._counts)), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=self._sum)


class Metrics:
    """All metrics of one worker, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = self._counter
        self.posts_delivered = counter("connector_posts_delivered", "Posts committed to the output topic.")
        self.posts_dropped = counter(
            "connector_posts_dropped", "Lines and posts not delivered, by reason.", "reason", "intentional"
        )
        self.posts_not_printed = counter(
            "connector_posts_not_printed", "Delivered posts that print=true did not print."
        )
        self.reconnects = counter("connector_reconnects", "Connections that ended, by what ended them.", "error")
        self.stream_errors = counter("connector_stream_errors", "Lines of X about errors that did not end the stream.")
        self.deliveries_failed = counter("connector_deliveries_failed", "Deliveries Kafka did not confirm.", "error")
        self.fallbacks = counter(
            "connector_fallbacks", "Small batches left to aiokafka's sender, which takes more CPU.", "reason"
        )
        self.task_starts = counter("connector_task_starts", "Starts of a task on this worker.")
        self.gaps = counter("connector_gaps", "Gaps that were repaired, lost or accepted.", "reason", "outcome")
        self.spend_usd = counter("connector_spend_usd", "Price of what was read, at X's list price (USD).")
        self.delivery_seconds = WeightedHistogram(
            "connector_delivery_seconds", "Arrival in the socket to commit.", DELIVERY_BUCKETS_SECS, self.registry
        )
        self.post_age_seconds = WeightedHistogram(
            "connector_post_age_seconds",
            "Creation of a post to commit; one post of each arrival stands for those that came with it.",
            AGE_BUCKETS_SECS,
            self.registry,
        )

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(name, documentation, labels, registry=self.registry)

    def watch(self, gauges: Callable[[], Iterable[Metric]]) -> None:
        """Call *gauges* at each scrape, and render the metrics that it returns."""
        self.registry.register(_Watcher(gauges))

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Watcher(Collector):
    def __init__(self, gauges: Callable[[], Iterable[Metric]]) -> None:
        self._gauges = gauges

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        return self._gauges()


def gauge(name: str, documentation: str, samples: Iterable[tuple[dict[str, str], float]]) -> GaugeMetricFamily:
    """Return a gauge named *name* with *samples* of labels and value."""
    rows = list(samples)
    family = GaugeMetricFamily(name, documentation, labels=list(rows[0][0]) if rows else [])
    for labels, value in rows:
        family.add_metric(list(labels.values()), value)
    return family
