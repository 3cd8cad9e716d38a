"""
Makes the dashboard for Grafana: `python docker/grafana/dashboard.py > docker/grafana/dashboards/murmuration.json`.

Each panel is a row of the table below.  A test asks a Prometheus that scrapes a worker for every query, and another one
fails if the file differs from what this makes.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, THIRD = 24, 8
"""Columns of a dashboard, and of most panels."""

LOW, HIGH = 4, 8
"""Heights of a number and of a picture, in Grafana's units."""

HERE = '{job="$job"}'
MINE = '{job="$job", connector=~"$connector"}'
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
RATE = "$__rate_interval"

RED_FROM_ONE = ((None, "green"), (1, "red"))
RED_AT_ZERO = ((None, "red"), (1, "green"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """
    One panel: *queries* are (expression, legend); *says* is what a reader should know.

    *steps* are (from, colour); *span* is the width in columns.
    """

    title: str
    says: str
    queries: Sequence[tuple[str, str]]
    kind: str = "timeseries"
    unit: str = "short"
    span: int = THIRD
    steps: Sequence[tuple[float | None, str]] = ((None, "green"),)
    stacked: bool = False


def quantiles(metric: str) -> Sequence[tuple[str, str]]:
    """Return the queries for the middle and the slowest of what the histogram *metric* counts."""
    rate = f"sum by (le) (rate({metric}_bucket{HERE}[{RATE}]))"
    return tuple((f"histogram_quantile({share}, {rate})", f"p{share * 100:.0f}") for share in (0.5, 0.99))


CHAPTERS: Sequence[tuple[str, Sequence[Panel]]] = (
    (
        "Is it well?",
        (
            Panel(
                title="Ready workers",
                says="Workers whose /ready answers 200. A standby without a task is ready.",
                queries=((f"sum(connector_worker_ready{HERE})", "ready"),),
                kind="stat",
                span=3,
                steps=RED_AT_ZERO,
            ),
            Panel(
                title="Tasks that do not run",
                says="FAILED: a person has to act. PAUSED: by hand, by a budget, or X wants money.",
                queries=(
                    (
                        f'sum(connector_task_state{MINE[:-1]}, state=~"FAILED|PAUSED|UNASSIGNED"}})',
                        "tasks",
                    ),
                ),
                kind="stat",
                span=3,
                steps=RED_FROM_ONE,
            ),
            Panel(
                title="Behind",
                says="The covered time of the connector that is furthest behind. About half a minute is normal.",
                queries=((f"max(time() - connector_covered_to_timestamp_seconds{MINE})", "behind"),),
                kind="stat",
                unit="s",
                span=3,
                steps=((None, "green"), (60, "yellow"), (300, "red")),
            ),
            Panel(
                title="Gaps to repair",
                says="Time of which posts are missing and come by repair.",
                queries=(('sum(connector_gap_seconds{job="$job", state=~"open|repairing"})', "missing"),),
                kind="stat",
                unit="s",
                span=3,
                steps=((None, "green"), (1, "yellow")),
            ),
            Panel(
                title="Gaps lost",
                says="Time of which posts are missing and do not come by themselves: retry or accept these gaps.",
                queries=(('sum(connector_gap_seconds{job="$job", state="lost"})', "lost"),),
                kind="stat",
                unit="s",
                span=3,
                steps=RED_FROM_ONE,
            ),
            Panel(
                title="Posts a second",
                says="Posts committed to Kafka, of all connectors.",
                queries=((f"sum(rate(connector_posts_delivered_total{HERE}[{RATE}]))", "posts/s"),),
                kind="stat",
                unit="short",
                span=3,
            ),
            Panel(
                title="This month",
                says="Price of what was read since the begin of the UTC month, at X's list price.",
                queries=((f"sum(connector_spent_this_month_usd{MINE})", "spent"),),
                kind="stat",
                unit="currencyUSD",
                span=3,
            ),
            Panel(
                title="Budget used",
                says="The largest part of a budget that a connector has used; at 100 % it pauses. Empty without one.",
                queries=((f"max(connector_budget_used_ratio{MINE})", "used"),),
                kind="stat",
                unit="percentunit",
                span=3,
                steps=((None, "green"), (0.8, "yellow"), (1, "red")),
            ),
            Panel(
                title="Alerts",
                says="Alerts of docker/prometheus/rules.yaml that fire or are about to. Empty when all is well.",
                queries=(('ALERTS{alertname=~"Murmuration.*", job=~"$job|"}', "{{alertname}}"),),
                kind="table",
                span=24,
            ),
        ),
    ),
    (
        "What is missing?",
        (
            Panel(
                title="Behind, by connector",
                says="Now less the creation time up to which all posts are in Kafka, but for gaps.",
                queries=(
                    (f"time() - min by (connector) (connector_covered_to_timestamp_seconds{MINE})", "{{connector}}"),
                ),
                unit="s",
            ),
            Panel(
                title="Silence of X, by connector",
                says="Time since the last line or keep-alive. Keep-alives come every 20 s.",
                queries=((f"time() - min by (connector) (connector_heard_timestamp_seconds{MINE})", "{{connector}}"),),
                unit="s",
            ),
            Panel(
                title="Gaps",
                says="Time of which not everything is delivered, by what becomes of it.",
                queries=((f"sum by (state) (connector_gap_seconds{HERE})", "{{state}}"),),
                unit="s",
                stacked=True,
            ),
            Panel(
                title="Gaps that have ended, in the last hour",
                says="By what they came from, and how they ended.",
                queries=(
                    (
                        f"sum by (reason, outcome) (increase(connector_gaps_total{HERE}[1h]))",
                        "{{reason}}: {{outcome}}",
                    ),
                ),
                span=12,
                stacked=True,
            ),
            Panel(
                title="Connections to X that ended, in the last hour",
                says="By the error that ended them.",
                queries=((f"sum by (error) (increase(connector_reconnects_total{HERE}[1h]))", "{{error}}"),),
                span=12,
                stacked=True,
            ),
        ),
    ),
    (
        "Is it fast?",
        (
            Panel(
                title="Posts a second, by worker",
                says="Posts committed to Kafka.",
                queries=((f"sum by (instance) (rate(connector_posts_delivered_total{HERE}[{RATE}]))", "{{instance}}"),),
                stacked=True,
            ),
            Panel(
                title="From the socket into Kafka",
                says="Arrival of a post to its commit.",
                queries=quantiles("connector_delivery_seconds"),
                unit="s",
            ),
            Panel(
                title="From the author into Kafka",
                says="Creation of a post to its commit. X itself takes several seconds of it.",
                queries=quantiles("connector_post_age_seconds"),
                unit="s",
            ),
            Panel(
                title="Dropped a second",
                says="Duplicates and posts of no rule of ours, on purpose; the rest lies in the dead letter topic.",
                queries=(
                    (
                        f"sum by (reason, intentional) (rate(connector_posts_dropped_total{HERE}[{RATE}]))",
                        "{{reason}} (intentional: {{intentional}})",
                    ),
                ),
            ),
            Panel(
                title="Kafka does not confirm",
                says="How long a delivery has waited, from 5 s on.",
                queries=((f"max by (instance) (connector_delivery_waiting_seconds{HERE})", "{{instance}}"),),
                unit="s",
            ),
            Panel(
                title="Buffers",
                says="Memory of posts that were read and wait to be delivered.",
                queries=((f"sum by (instance) (connector_buffer_bytes{HERE})", "{{instance}}"),),
                unit="bytes",
            ),
            Panel(
                title="Deliveries that failed, in the last hour",
                says="Their posts are delivered again.",
                queries=((f"sum by (error) (increase(connector_deliveries_failed_total{HERE}[1h]))", "{{error}}"),),
                span=12,
            ),
            Panel(
                title="Small batches the slower way, a second",
                says="They take more CPU; nothing is lost.",
                queries=((f"sum by (reason) (rate(connector_fallbacks_total{HERE}[{RATE}]))", "{{reason}}"),),
                span=12,
            ),
            Panel(
                title="Schema registry: requests without an answer, a second",
                says="Posts wait for the id of their schema; nothing is lost.",
                queries=(
                    (
                        f"sum by (instance) (rate(connector_schema_registry_failures_total{HERE}[{RATE}]))",
                        "{{instance}}",
                    ),
                ),
            ),
            Panel(
                title="Withdrawn at X, a second",
                says="Events of compliance streams, the posts that were withdrawn because of them, and posts whose"
                " author is not known: events about users leave these.",
                queries=(
                    (f"sum by (kind) (rate(connector_compliance_events_total{HERE}[{RATE}]))", "{{kind}}"),
                    (f"sum by (kind) (rate(connector_posts_withdrawn_total{HERE}[{RATE}]))", "posts, {{kind}}"),
                    (f"sum by (reason) (rate(connector_posts_without_author_total{HERE}[{RATE}]))", "{{reason}}"),
                ),
            ),
        ),
    ),
    (
        "What does it cost, and what brings it?",
        (
            Panel(
                title="Posts a second by rule",
                says="The twenty rules that bring most. A post that matched several rules counts for each.",
                queries=(
                    (
                        f"topk(20, sum by (connector, rule) (rate(connector_rule_posts_total{MINE}[{RATE}])))",
                        "{{connector}}/{{rule}}",
                    ),
                ),
                span=16,
            ),
            Panel(
                title="Posts by rule, in the time shown",
                says="Which rule is worth its money: a post counts for each rule that it matched.",
                queries=(
                    (
                        f"topk(50, sum by (connector, rule) (increase(connector_rule_posts_total{MINE}[$__range])))",
                        "{{connector}}/{{rule}}",
                    ),
                ),
                kind="table",
            ),
            Panel(
                title="Dollars an hour",
                says="At X's list price.",
                queries=((f"sum(rate(connector_spend_usd_total{HERE}[{RATE}])) * 3600", "now"),),
                unit="currencyUSD",
            ),
            Panel(
                title="Spent this month, by connector",
                says="Since the begin of the UTC month, over all restarts.",
                queries=((f"sum by (connector) (connector_spent_this_month_usd{MINE})", "{{connector}}"),),
                unit="currencyUSD",
            ),
            Panel(
                title="Budget used, by connector",
                says="At 100 % the connector pauses until the next UTC day or month.",
                queries=(
                    (
                        f"max by (connector, period) (connector_budget_used_ratio{MINE})",
                        "{{connector}}, {{period}}",
                    ),
                ),
                unit="percentunit",
            ),
            Panel(
                title="Billed today, by connector",
                says="Posts that X has billed since midnight UTC.",
                queries=((f"sum by (connector) (connector_billed_today_posts{MINE})", "{{connector}}"),),
                span=24,
            ),
        ),
    ),
    (
        "Who does the work?",
        (
            Panel(
                title="Tasks by state",
                says="One state for each task.",
                queries=((f"sum by (state) (connector_task_state{MINE})", "{{state}}"),),
                stacked=True,
            ),
            Panel(
                title="CPU by worker",
                says="In cores.",
                queries=((f"rate(process_cpu_seconds_total{HERE}[{RATE}])", "{{instance}}"),),
            ),
            Panel(
                title="Memory by worker",
                says="Resident memory of the process.",
                queries=((f"process_resident_memory_bytes{HERE}", "{{instance}}"),),
                unit="bytes",
            ),
            Panel(
                title="Starts of tasks, in the last hour",
                says="Moves between workers, and starts after failures.",
                queries=((f"sum by (instance) (increase(connector_task_starts_total{HERE}[1h]))", "{{instance}}"),),
            ),
            Panel(
                title="Fast paths",
                says="1 while in use; 0 costs CPU, and nothing is lost.",
                queries=((f"min by (path) (connector_fast_path{HERE})", "{{path}}"),),
                kind="stat",
                steps=RED_AT_ZERO,
            ),
            Panel(
                title="Versions",
                says="Of each worker.",
                queries=((f"connector_worker_info{HERE}", "{{instance}}: {{version}}, Python {{python}}"),),
                kind="table",
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana's JSON."""
    return {
        "uid": "murmuration",
        "title": "Murmuration",
        "description": "Posts of the X API v2 on their way into Kafka: what is missing, how fast, what it costs.",
        "tags": ["murmuration", "kafka"],
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": _variables()},
        "panels": list(_panels()),
    }


def _variables() -> list[dict[str, Any]]:
    def query(name: str, label: str, expression: str, **more: Any) -> dict[str, Any]:
        asked = {"query": expression, "refId": name}
        given = {"name": name, "label": label, "type": "query", "datasource": DATASOURCE, "query": asked}
        return {**given, "refresh": 2, "sort": 1, **more}

    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        query("job", "Group (job)", "label_values(connector_worker_info, job)"),
        query(
            "connector",
            "Connector",
            'label_values(connector_task_state{job="$job"}, connector)',
            multi=True,
            includeAll=True,
            allValue=".*",
            current={"text": "All", "value": "$__all"},
        ),
    ]


def _panels() -> Iterator[dict[str, Any]]:
    number = y = 0
    for chapter, panels in CHAPTERS:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": chapter,
            "collapsed": False,
            "panels": [],
            "gridPos": _at(0, y, WIDTH, 1),
        }
        y += 1
        x = height = 0
        for panel in panels:
            if x + panel.span > WIDTH:
                x, y = 0, y + height
            height = LOW if panel.kind == "stat" and panel.span < THIRD else HIGH
            number += 1
            yield {"id": number, **_drawn(panel), "gridPos": _at(x, y, panel.span, height)}
            x += panel.span
        y += height


def _at(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _drawn(panel: Panel) -> dict[str, Any]:
    table = panel.kind == "table"
    steps = [{"value": start, "color": colour} for start, colour in panel.steps]
    custom = {
        "fillOpacity": 30 if panel.stacked else 0,
        "stacking": {"mode": "normal" if panel.stacked else "none"},
        "spanNulls": False,
    }
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        defaults["custom"] = custom
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel.kind),
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": DATASOURCE,
                "expr": expression,
                "legendFormat": legend,
                "instant": table,
                "range": not table,
                **({"format": "table"} if table else {}),
            }
            for place, (expression, legend) in enumerate(panel.queries)
        ],
    }


def _options(kind: str) -> dict[str, Any]:
    if kind == "stat":
        return {"colorMode": "background", "reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "auto"}
    if kind == "table":
        return {"showHeader": True}
    return {
        "legend": {"displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(dashboard(), indent=1) + "\n")
