"""The queries of the dashboard for Grafana, as a Prometheus can answer them."""

import json
from collections.abc import Mapping

from tests import ROOT

FILE = ROOT / "docker" / "grafana" / "dashboards" / "murmuration.json"
VARIABLES = {"$__rate_interval": "5m", "$__range": "1h", "$job": "murmuration", "$connector": ".*"}

EMPTY = (
    'ALERTS{alertname=~"Murmuration.*", job=~"murmuration|"}',
    'sum by (error) (increase(connector_deliveries_failed_total{job="murmuration"}[1h]))',
    'sum by (reason) (rate(connector_fallbacks_total{job="murmuration"}[5m]))',
    'sum by (kind) (rate(connector_compliance_events_total{job="murmuration"}[5m]))',
    'sum by (kind) (rate(connector_posts_withdrawn_total{job="murmuration"}[5m]))',
    'sum by (reason) (rate(connector_posts_without_author_total{job="murmuration"}[5m]))',
)
"""
Queries that bring nothing while a group is well and reads posts only.

Stories in tests/unit/monitoring/alerts.yaml have data for them.
"""


def queries(variables: Mapping[str, str] = VARIABLES) -> list[tuple[str, str]]:
    """Return the title of the panel and the expression of each query, with *variables* put in."""
    found = []
    for panel in json.loads(FILE.read_text())["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for name, value in variables.items():
                expression = expression.replace(name, value)
            assert "$" not in expression
            found.append((panel["title"], expression))
    return found
