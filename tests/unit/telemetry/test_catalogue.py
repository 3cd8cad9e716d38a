"""Declarations of metrics: what a worker renders is what they say, and so is the page."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from connector.records.record import TaskId
from connector.task.status import State
from connector.telemetry import docs
from connector.telemetry.catalogue import CATALOGUE
from connector.telemetry.events.task import RulesMatched
from connector.telemetry.metrics import Metrics
from connector.worker.gauges import gauges_of
from tests import ROOT
from tests.prometheus import promtool
from tests.unit.fakes import Gate, MemoryKafka, MemorySink, Running, ScriptedSource, shared_post, until

DESIGNED = {
    "connector_posts_delivered_total": (),
    "connector_posts_dropped_total": ("reason", "intentional"),
    "connector_reconnects_total": ("error",),
    "connector_delivery_seconds": (),
    "connector_post_age_seconds": (),
    "connector_covered_to_timestamp_seconds": ("connector",),
    "connector_gap_seconds": ("state",),
    "connector_gaps_total": ("reason", "outcome"),
    "connector_buffer_bytes": (),
    "connector_heard_timestamp_seconds": ("connector",),
    "connector_spend_usd_total": (),
    "connector_task_state": ("connector", "task", "state"),
    "connector_rule_posts_total": ("connector", "rule"),
    "connector_fast_path": ("path",),
}
"""Dashboards rely on these names and labels."""


class Tasks:
    """One task, and its state."""

    def __init__(self, task):
        self.tasks = {0: task}

    def states(self):
        return {TaskId("posts", 0): State.RUNNING}


@pytest.fixture
async def rendered():
    """What a worker with a task at work renders, each metric with a sample."""
    metrics, kafka, gate = Metrics(), MemoryKafka(), Gate()
    for counter in (
        metrics.posts_dropped,
        metrics.compliance_events,
        metrics.posts_withdrawn,
        metrics.posts_without_author,
        metrics.deliveries_failed,
        metrics.fallbacks,
        metrics.gaps,
        metrics.reconnects,
    ):
        counter.labels(*("word" for _ in counter._labelnames)).inc()
    running = Running([ScriptedSource([(shared_post(1, "7"),), gate])], MemorySink(kafka))
    async with running:
        metrics.watch(lambda: gauges_of(Tasks(running.task), lambda: True))
        await until(lambda: kafka.records)
        RulesMatched(of=TaskId("posts", 0), matched=((("birds",), 1),)).count(metrics)
        yield metrics.render()
        gate.set()


def test_names_that_dashboards_rely_on():
    """They and their labels do not change."""
    declared = {each.name: tuple(each.labels) for each in CATALOGUE}

    assert DESIGNED == {name: declared.get(name) for name in DESIGNED}


async def test_rendered_as_declared(rendered):
    """Each metric has the type, meaning and labels of its declaration, and there is none beside them."""
    found = {}
    for family in text_string_to_metric_families(rendered.decode()):
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = (family.type, family.documentation, labels)
    ours = {name: each for name, each in found.items() if not name.startswith("process_")}

    budget = {"connector_budget_used_ratio"}  # there is none
    assert {
        each.name: (each.kind, each.meaning, set() if each.name in budget else set(each.labels)) for each in CATALOGUE
    } == ours
    assert "process_cpu_seconds_total" in found


async def test_prometheus_finds_nothing_to_say(rendered):
    """Names, types and help are as Prometheus' own rules want them."""
    assert "" == promtool("check", "metrics", given=rendered).strip()


def test_the_page_is_fresh():
    """docs/metrics.md says what the declarations say; `make docs` writes it."""
    assert docs.page() == (ROOT / "docs" / "metrics.md").read_text()


def test_the_page_leads_somewhere():
    """The chapters that it names are in docs/operations.md."""
    chapters = re.findall(r"^#+ (.*)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", chapter.lower()).replace(" ", "-") for chapter in chapters}

    assert set(re.findall(r"\(operations\.md#([^)]*)\)", docs.page())) <= anchors


@pytest.mark.parametrize("declared", CATALOGUE, ids=lambda declared: declared.name)
def test_a_declaration_is_whole(declared):
    """Counters end with `_total`, histograms have buckets, and the meaning is a sentence."""
    assert declared.name.startswith("connector_")
    assert (declared.kind == "counter") == declared.name.endswith("_total")
    assert (declared.kind == "histogram") == bool(declared.buckets)
    assert declared.meaning.endswith(".")
    assert all(declared.labels.values())
