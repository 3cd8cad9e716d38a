"""Rules for Prometheus: accepted, each alert tested by Prometheus itself, each with an entry that says what to do."""

import re
from pathlib import Path

import pytest
import yaml

from connector.telemetry.catalogue import CATALOGUE
from tests import ROOT
from tests.prometheus import promtool

RULES = ROOT / "docker" / "prometheus" / "rules.yaml"
TESTS = Path(__file__).parent / "alerts.yaml"
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
RECORDS = [rule for group in GROUPS for rule in group["rules"] if "record" in rule]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def test_prometheus_accepts_the_rules():
    """Names, expressions and templates."""
    assert f"{len(ALERTS) + len(RECORDS)} rules found" in promtool("check", "rules", RULES)


@pytest.mark.slow
def test_alerts_fire_when_they_should():
    """On the stories in alerts.yaml, evaluated by Prometheus."""
    assert "SUCCESS" in promtool("test", "rules", TESTS)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_each_alert_is_seen_firing_and_silent(alert):
    """There is a story for both."""
    stories = yaml.safe_load(TESTS.read_text())["tests"]
    asked = [each for story in stories for each in story.get("alert_rule_test", ())]
    its = [each for each in asked if each["alertname"] == alert["alert"]]

    assert {True, False} == {bool(each["exp_alerts"]) for each in its}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_each_alert_says_what_to_do(alert):
    """A summary with the cure, a severity, and an entry in docs/operations.md that has all a person needs."""
    link = alert["annotations"]["runbook_url"]
    entry = re.search(rf"^### {alert['alert']}\n(.*?)(?=^##)", OPERATIONS, re.MULTILINE | re.DOTALL)

    assert f"docs/operations.md#{alert['alert'].lower()}" == link
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert ":" in alert["annotations"]["summary"]
    assert entry is not None
    assert all(f"**{word}**" in entry[1] for word in ("What it means", "What to look at", "What to do"))


def test_each_entry_has_its_alert():
    """An alert that is gone leaves no entry."""
    alerts = {alert["alert"] for alert in ALERTS}

    assert alerts == set(re.findall(r"^### (Murmuration\w+)$", OPERATIONS, re.MULTILINE))


def test_rules_ask_for_metrics_that_there_are():
    """And by labels that they have: no rule is silent because of a name."""
    names = {declared.name for declared in CATALOGUE}
    names |= {f"{declared.name}_bucket" for declared in CATALOGUE if declared.kind == "histogram"}
    recorded = {rule["record"] for rule in RECORDS}
    for rule in (*ALERTS, *RECORDS):
        asked = set(re.findall(r"[\w:]*connector_\w+(?::\w+)*", rule["expr"]))

        assert asked
        assert asked <= names | recorded
