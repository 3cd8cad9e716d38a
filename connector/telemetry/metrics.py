"""
The metrics of a worker, under the names that dashboards rely on; `catalogue` declares them.

Events feed counters and histograms; gauges are computed from the running tasks at each scrape.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from connector.telemetry import catalogue
from connector.telemetry.catalogue import CONNECTORS_MAX, OTHER, RULES_MAX, Declared

TOTAL = "_total"
"""The end of a counter's name, which prometheus_client adds."""


class WeightedHistogram(Collector):
    """A histogram that counts one value for many posts in one call; prometheus_client's needs a call for each post."""

    def __init__(self, declared: Declared, registry: CollectorRegistry) -> None:
        self._declared, self._bounds = declared, tuple(declared.buckets)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, value: float, weight: int = 1) -> None:
        """Count *weight* posts that took *value* seconds."""
        self._counts[bisect_left(self._bounds, value)] += weight
        self._sum += value * weight

    def collect(self) -> Iterable[Metric]:
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(self._counts)), strict=True))
        yield HistogramMetricFamily(self._declared.name, self._declared.meaning, buckets=buckets, sum_value=self._sum)


class BoundedCounter(Collector):
    """
    A counter by connector and one more label, of which a worker keeps at most *most* series.

    What comes later is counted under `OTHER` in place of the second label, and with too many connectors in place of
    both.  So the sum over all series is right, however many there would be.
    """

    def __init__(self, declared: Declared, most: int, registry: CollectorRegistry) -> None:
        self._declared, self._most = declared, most
        self._counts: dict[tuple[str, str], float] = {}
        registry.register(self)

    def add(self, amount: float, connector: str, value: str | None) -> None:
        """Add *amount* for *connector* and the *value* of the second label; None is for `OTHER`."""
        key = (connector, OTHER if value is None else value)
        if key not in self._counts and len(self._counts) >= self._most:
            key = (connector, OTHER)
            if key not in self._counts and len(self._counts) >= self._most + CONNECTORS_MAX:
                key = (OTHER, OTHER)
        self._counts[key] = self._counts.get(key, 0.0) + amount

    def collect(self) -> Iterable[Metric]:
        name = self._declared.name.removesuffix(TOTAL)
        family = CounterMetricFamily(name, self._declared.meaning, labels=tuple(self._declared.labels))
        for labels, count in list(self._counts.items()):
            family.add_metric(labels, count)
        yield family


class Metrics:
    """All metrics of one worker, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = self._counter
        self.posts_delivered = counter(catalogue.POSTS_DELIVERED)
        self.posts_dropped = counter(catalogue.POSTS_DROPPED)
        self.rule_posts = BoundedCounter(catalogue.RULE_POSTS, RULES_MAX, self.registry)
        self.compliance_events = counter(catalogue.COMPLIANCE_EVENTS)
        self.posts_withdrawn = counter(catalogue.POSTS_WITHDRAWN)
        self.posts_without_author = counter(catalogue.POSTS_WITHOUT_AUTHOR)
        self.posts_not_printed = counter(catalogue.POSTS_NOT_PRINTED)
        self.delivery_seconds = WeightedHistogram(catalogue.DELIVERY_SECONDS, self.registry)
        self.post_age_seconds = WeightedHistogram(catalogue.POST_AGE_SECONDS, self.registry)
        self.deliveries_failed = counter(catalogue.DELIVERIES_FAILED)
        self.fallbacks = counter(catalogue.FALLBACKS)
        self.registry_failures = counter(catalogue.REGISTRY_FAILURES)
        self.gaps = counter(catalogue.GAPS)
        self.reconnects = counter(catalogue.RECONNECTS)
        self.stream_errors = counter(catalogue.STREAM_ERRORS)
        self.spend_usd = counter(catalogue.SPEND_USD)
        self.task_starts = counter(catalogue.TASK_STARTS)
        ProcessCollector(registry=self.registry)

    def _counter(self, declared: Declared) -> Counter:
        name = declared.name.removesuffix(TOTAL)
        return Counter(name, declared.meaning, tuple(declared.labels), registry=self.registry)

    def watch(self, gauges: Callable[[], Iterable[Metric]]) -> None:
        """Call *gauges* at each scrape, and render the metrics that it returns."""
        self.registry.register(_Watcher(gauges))

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(_Rendered(self.registry))


class _Watcher(Collector):
    def __init__(self, gauges: Callable[[], Iterable[Metric]]) -> None:
        self._gauges = gauges

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        return self._gauges()


class _Rendered(CollectorRegistry):
    """The metrics of a registry without the times of their creation, which would double the series of all counters."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


def gauge(declared: Declared, samples: Iterable[tuple[tuple[str, ...], float]]) -> GaugeMetricFamily:
    """Return the gauge *declared* with *samples*: the values of its labels, in their order, and its own value."""
    family = GaugeMetricFamily(declared.name, declared.meaning, labels=tuple(declared.labels))
    for labels, value in samples:
        family.add_metric(labels, value)
    return family
