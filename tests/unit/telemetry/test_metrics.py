from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from connector.telemetry.catalogue import (
    AGE_BUCKETS_SECS,
    CONNECTORS_MAX,
    DELIVERY_BUCKETS_SECS,
    OTHER,
    RULE_POSTS,
    TASK_STATE,
    Declared,
)
from connector.telemetry.metrics import BoundedCounter, Metrics, WeightedHistogram, gauge

NAMES = {
    "connector_posts_delivered": "counter",
    "connector_posts_dropped": "counter",
    "connector_reconnects": "counter",
    "connector_deliveries_failed": "counter",
    "connector_task_starts": "counter",
    "connector_gaps": "counter",
    "connector_spend_usd": "counter",
    "connector_delivery_seconds": "histogram",
    "connector_post_age_seconds": "histogram",
}
"""Dashboards rely on these."""


def parsed(metrics):
    return {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}


def test_names_and_types():
    """The names are those that dashboards rely on, and each says what it is."""
    families = parsed(Metrics())

    assert {name: families[name].type for name in NAMES if name in families} == NAMES
    assert all(families[name].documentation.endswith(".") for name in NAMES)


def test_histogram_is_one_to_prometheus():
    """Buckets are cumulative and end with +Inf, which is the count; the sum is that of all posts."""
    metrics = Metrics()
    metrics.delivery_seconds.observe(0.005, 2)  # a bound belongs to its bucket
    metrics.delivery_seconds.observe(0.3)
    metrics.delivery_seconds.observe(100.0, 3)
    family = parsed(metrics)["connector_delivery_seconds"]

    buckets = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
    others = {s.name: s.value for s in family.samples if not s.labels}
    assert [*(str(float(bound)) for bound in DELIVERY_BUCKETS_SECS), "+Inf"] == list(buckets)
    assert (2, 2, 3, 3, 6) == tuple(buckets[le] for le in ("0.005", "0.25", "0.5", "60.0", "+Inf"))
    assert sorted(buckets.values()) == list(buckets.values())
    assert {"connector_delivery_seconds_count": 6, "connector_delivery_seconds_sum": 0.01 + 0.3 + 300} == others


def test_histograms_begin_at_zero():
    """An untouched histogram is there, so that a dashboard sees zero and not nothing."""
    samples = parsed(Metrics())["connector_post_age_seconds"].samples

    assert len(AGE_BUCKETS_SECS) + 3 == len(samples)
    assert {0.0} == {sample.value for sample in samples}


def test_gauges_are_asked_at_each_scrape():
    """A gauge is what it is when somebody looks; its labels are escaped."""
    metrics, rows = Metrics(), []
    metrics.watch(lambda: [gauge(TASK_STATE, rows)])
    assert [] == parsed(metrics)["connector_task_state"].samples
    rows.append((('a"b\\c\nd', "0", "RUNNING"), 1.0))
    (sample,) = parsed(metrics)["connector_task_state"].samples

    assert ({"connector": 'a"b\\c\nd', "task": "0", "state": "RUNNING"}, 1.0) == (sample.labels, sample.value)


def test_no_series_about_the_time_of_creation():
    """They would double what a scrape brings, and nobody asks for them."""
    metrics = Metrics()
    metrics.posts_dropped.labels(reason="duplicate", intentional="true").inc()

    assert "_created" not in metrics.render().decode()
    assert b'connector_posts_dropped_total{intentional="true",reason="duplicate"} 1.0' in metrics.render()


def declared(name, **given):
    return Declared(name=name, kind="histogram", group="Posts", meaning="Other.", **given)


def test_each_worker_has_its_own():
    """Two sets of metrics in one process do not meet."""
    one, other = Metrics(), Metrics()
    one.posts_delivered.inc()

    assert 0.0 == other.registry.get_sample_value("connector_posts_delivered_total")
    WeightedHistogram(declared("connector_other_seconds", buckets=(1.0,)), one.registry)


def rule_posts(counter_):
    (family,) = counter_.collect()
    return {(sample.labels["connector"], sample.labels["rule"]): sample.value for sample in family.samples}


def test_rules_have_a_bound():
    """Beyond it posts count under `(other)`, so that the sum stays right; what has a series keeps it."""
    counter = BoundedCounter(RULE_POSTS, 3, CollectorRegistry())
    for connector, rule in (("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"), ("b", "3"), ("a", "1"), ("b", None)):
        counter.add(2, connector, rule)

    assert {("a", "1"): 4, ("a", "2"): 2, ("b", "1"): 2, ("b", OTHER): 6} == rule_posts(counter)


def test_connectors_have_a_bound():
    """However many connectors come and go, a worker has no more series than it says."""
    counter = BoundedCounter(RULE_POSTS, 3, CollectorRegistry())
    for number in range(CONNECTORS_MAX + 50):
        counter.add(1, f"connector-{number}", "rule")
    counts = rule_posts(counter)

    assert 3 + CONNECTORS_MAX + 1 == len(counts)
    assert CONNECTORS_MAX + 50 == sum(counts.values())
    assert 47 == counts[OTHER, OTHER]
