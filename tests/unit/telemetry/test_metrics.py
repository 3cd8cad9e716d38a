from types import SimpleNamespace

from prometheus_client.parser import text_string_to_metric_families

from connector.coverage.offset import Coverage, Gap, GapState
from connector.errors import ServiceUnavailable
from connector.records import clock
from connector.telemetry.metrics import AGE_BUCKETS_SECS, DELIVERY_BUCKETS_SECS, Metrics, WeightedHistogram, gauge
from connector.worker.gauges import gauges_of
from tests.unit.fakes import KEY, MADE_MS, Gate, MemoryKafka, MemorySink, Running, ScriptedSource, skew_to, until

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
    metrics.watch(lambda: [gauge("connector_task_state", "State.", rows)])
    assert [] == parsed(metrics)["connector_task_state"].samples
    rows.append(({"connector": 'a"b\\c\nd', "state": "RUNNING"}, 1.0))
    (sample,) = parsed(metrics)["connector_task_state"].samples

    assert ({"connector": 'a"b\\c\nd', "state": "RUNNING"}, 1.0) == (sample.labels, sample.value)


def test_each_worker_has_its_own():
    """Two sets of metrics in one process do not meet."""
    one, other = Metrics(), Metrics()
    one.posts_delivered.inc()

    assert 0.0 == other.registry.get_sample_value("connector_posts_delivered_total")
    WeightedHistogram("connector_other_seconds", "Other.", (1.0,), one.registry)


async def test_seconds_that_are_missing(monkeypatch):
    """Gaps by what becomes of them; `open` counts an outage that goes on, from the last gap, and nothing twice."""
    gaps = (
        Gap(from_ms=MADE_MS, to_ms=MADE_MS + 1_000, reason="budget", state=GapState.LOST),
        Gap(from_ms=MADE_MS + 2_000, to_ms=MADE_MS + 4_000, reason="silent", state=GapState.REPAIRING),
        Gap(from_ms=MADE_MS + 10_000, to_ms=MADE_MS + 14_000, reason="connection_lost"),
    )
    kafka, gate, now = MemoryKafka(), Gate(), clock.now
    before = Coverage(covered_from_ms=MADE_MS, covered_to_ms=MADE_MS + 10_000, gaps=gaps)
    kafka.offsets.append((KEY, before.encode()))
    source = ScriptedSource([gate, ServiceUnavailable("X answered 503")], skew_secs=skew_to(MADE_MS + 12_500))
    metrics = Metrics()
    async with Running([source], MemorySink(kafka)) as running:
        metrics.watch(lambda: gauges_of(SimpleNamespace(tasks={0: running.task})))
        await until(lambda: kafka.commits)
        monkeypatch.setattr(clock, "now", lambda: now() + 1.6)
        assert MADE_MS + 14_000 < running.task.progresses[0].now_ms  # behind the end of the last gap
        assert {"open": 4.0, "repairing": 2.0, "lost": 1.0} == missing(metrics)
        gate.set()
        await until(lambda: 4.0 < missing(metrics)["open"])

        assert missing(metrics)["open"] < 6.0
        assert {"repairing": 2.0, "lost": 1.0}.items() <= missing(metrics).items()


def missing(metrics):
    """`connector_gap_seconds` by state."""
    return {sample.labels["state"]: sample.value for sample in parsed(metrics)["connector_gap_seconds"].samples}
