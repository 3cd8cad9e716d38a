"""The dashboard is what its script makes, and asks for metrics that there are."""

import json
import re
import runpy
from pathlib import Path

import pytest
import yaml

from connector.telemetry.catalogue import CATALOGUE
from tests import ROOT
from tests.dashboard import EMPTY, FILE, queries

SCRIPT = ROOT / "docker" / "grafana" / "dashboard.py"
PANELS = [panel for panel in json.loads(FILE.read_text())["panels"] if panel["type"] != "row"]


def test_the_dashboard_is_fresh():
    """`make docs` writes it."""
    assert json.loads(FILE.read_text()) == runpy.run_path(str(SCRIPT))["dashboard"]()


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows(panel):
    """A sentence, a unit, and a source that the reader may choose."""
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert {"${datasource}"} == {target["datasource"]["uid"] for target in panel["targets"]}


def test_panels_do_not_overlap():
    """Each has its place, and titles and ids are their own."""
    cells = [
        (x, y)
        for panel in json.loads(FILE.read_text())["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(cells) == len(set(cells))
    assert all(0 <= x < 24 for x, _ in cells)
    assert len(PANELS) == len({panel["title"] for panel in PANELS}) == len({panel["id"] for panel in PANELS})


def test_queries_ask_for_metrics_that_there_are():
    """By the names and labels of their declarations."""
    declared = {each.name: each for each in CATALOGUE}
    for _, expression in queries():
        for name, chosen in re.findall(r"\b(connector_\w+)(\{[^}]*\})?", expression):
            its = declared[name.removesuffix("_bucket")]

            assert set(re.findall(r"(\w+)=", chosen)) <= {"job", *its.labels}


def test_every_metric_is_shown():
    """But for posts that were not printed and errors in lines, which are seen in the log."""
    asked = " ".join(expression for _, expression in queries())
    unseen = {each.name for each in CATALOGUE if each.name not in asked}

    assert {"connector_posts_not_printed_total", "connector_stream_errors_total"} == unseen


def test_what_is_empty_in_a_healthy_group_has_a_story():
    """Prometheus itself shows that these queries bring something when there is something."""
    stories = yaml.safe_load((Path(__file__).parent / "alerts.yaml").read_text())["tests"]
    asked = [each for story in stories for each in story.get("promql_expr_test", ())]

    assert set(EMPTY) <= {expression for _, expression in queries()}
    assert set(EMPTY) <= {each["expr"] for each in asked if each["exp_samples"]}
