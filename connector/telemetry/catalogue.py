"""
The metrics of a worker, each declared once: name, type, labels, meaning.

`metrics` and the worker's gauges are made of these declarations, and so is docs/metrics.md.  The number of series is
bounded: what is beyond a bound counts under `OTHER`, so that sums stay right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

DELIVERY_BUCKETS_SECS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
AGE_BUCKETS_SECS = (0.1, 0.25, 0.5, 1, 2.5, 5, 7.5, 10, 15, 30, 60, 120, 300, 3600)

OTHER = "(other)"
"""The value of a label for all that is beyond a bound, and for posts that matched none of their connector's rules."""

RULES_MAX = 2_000
"""A worker counts posts by so many rules, those of all its connectors together."""

CONNECTORS_MAX = 200
"""A worker shows so many connectors by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """
    One metric: *name* as Prometheus shows it, *meaning* in one sentence, and what the values of each label are.

    *group* is its chapter in docs/metrics.md; *buckets* are the upper bounds of a histogram.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    group: str
    meaning: str
    labels: Mapping[str, str] = field(default_factory=dict)
    buckets: Sequence[float] = ()


_CONNECTOR = {"connector": "name of the connector"}
_ERROR = {"error": "name of the error, as in the tables of [operations](operations.md#errors-and-waits)"}

POSTS_DELIVERED = Declared(
    name="connector_posts_delivered_total",
    kind="counter",
    group="Posts",
    meaning="Posts committed to the output topics.",
)
POSTS_DROPPED = Declared(
    name="connector_posts_dropped_total",
    kind="counter",
    group="Posts",
    meaning="Lines and posts that were not delivered.",
    labels={
        "reason": "`duplicate` and `duplicate_<way of repair>`, `transform`, `unmatched`, `fenced`, or the error of a "
        "line that went to the dead letter topic",
        "intentional": "`true`: nothing is missing. `false`: somebody should look",
    },
)
RULE_POSTS = Declared(
    name="connector_rule_posts_total",
    kind="counter",
    group="Posts",
    meaning="New posts by the rule that they matched; a post that matched several rules counts for each of them.",
    labels={**_CONNECTOR, "rule": "label of the rule: its tag, hashtag or phrase in the configuration"},
)
_KIND = {
    "kind": "kind of the event, as X names it; `unknown` for one that this version does not know; of rechecks `found`,"
    " `unclear`, or why the post is gone"
}
COMPLIANCE_EVENTS = Declared(
    name="connector_compliance_events_total",
    kind="counter",
    group="Posts",
    meaning="Events of X's compliance streams, each once, and X's answers about the posts of rechecks.",
    labels={**_CONNECTOR, **_KIND},
)
POSTS_WITHDRAWN = Declared(
    name="connector_posts_withdrawn_total",
    kind="counter",
    group="Posts",
    meaning="Tombstones for posts that X has withdrawn.",
    labels={**_CONNECTOR, "kind": "kind of the event, or X's reason; `late` for posts that came after it"},
)
POSTS_WITHOUT_AUTHOR = Declared(
    name="connector_posts_without_author_total",
    kind="counter",
    group="Posts",
    meaning="Posts in the topic of a compliance connector whose author is not known: events about users leave them.",
    labels={
        **_CONNECTOR,
        "reason": "`no_author`: the post does not say who wrote it; `no_format`: the value is in no known format",
    },
)
POSTS_NOT_PRINTED = Declared(
    name="connector_posts_not_printed_total",
    kind="counter",
    group="Posts",
    meaning="Delivered posts that print=true did not print.",
)

DELIVERY_SECONDS = Declared(
    name="connector_delivery_seconds",
    kind="histogram",
    group="Delivery",
    meaning="Arrival of a post in the socket to its commit in Kafka.",
    buckets=DELIVERY_BUCKETS_SECS,
)
POST_AGE_SECONDS = Declared(
    name="connector_post_age_seconds",
    kind="histogram",
    group="Delivery",
    meaning="Creation of a post at X to its commit; one post of each arrival stands for those that came with it.",
    buckets=AGE_BUCKETS_SECS,
)
DELIVERY_WAITING_SECONDS = Declared(
    name="connector_delivery_waiting_seconds",
    kind="gauge",
    group="Delivery",
    meaning="How long Kafka has not confirmed a delivery of this worker, from 5 s on; 0 while it confirms.",
)
DELIVERIES_FAILED = Declared(
    name="connector_deliveries_failed_total",
    kind="counter",
    group="Delivery",
    meaning="Deliveries that Kafka did not confirm; their posts are delivered again.",
    labels=_ERROR,
)
BUFFER_BYTES = Declared(
    name="connector_buffer_bytes",
    kind="gauge",
    group="Delivery",
    meaning="Bytes of memory that posts take that were read and not yet drained.",
)
FALLBACKS = Declared(
    name="connector_fallbacks_total",
    kind="counter",
    group="Delivery",
    meaning="Small batches left to aiokafka's sender, which takes more CPU.",
    labels={"reason": "why"},
)
REGISTRY_FAILURES = Declared(
    name="connector_schema_registry_failures_total",
    kind="counter",
    group="Delivery",
    meaning="Requests to a schema registry without a usable answer; posts wait meanwhile.",
)
FAST_PATH = Declared(
    name="connector_fast_path",
    kind="gauge",
    group="Delivery",
    meaning="1 while this worker takes a fast path, 0 when it fell back to the slower one.",
    labels={"path": "as in [fast paths](operations.md#fast-paths-and-the-versions-of-libraries)"},
)

COVERED_TO = Declared(
    name="connector_covered_to_timestamp_seconds",
    kind="gauge",
    group="Coverage",
    meaning="Creation time up to which all posts are committed, but for gaps, of the connector's tasks on this worker.",
    labels=_CONNECTOR,
)
HEARD = Declared(
    name="connector_heard_timestamp_seconds",
    kind="gauge",
    group="Coverage",
    meaning="When X last sent a line or a keep-alive, on the connector's connection that is silent the longest.",
    labels=_CONNECTOR,
)
GAP_SECONDS = Declared(
    name="connector_gap_seconds",
    kind="gauge",
    group="Coverage",
    meaning="Time of which not everything is delivered, of this worker's tasks; open includes an outage that goes on.",
    labels={"state": "`open`, `repairing`, `lost`"},
)
GAPS = Declared(
    name="connector_gaps_total",
    kind="counter",
    group="Coverage",
    meaning="Gaps that have ended.",
    labels={
        "reason": "what they came from, as in [gaps](operations.md#gaps)",
        "outcome": "`repaired`, `lost`, `accepted`",
    },
)

RECONNECTS = Declared(
    name="connector_reconnects_total",
    kind="counter",
    group="X",
    meaning="Connections to X that ended.",
    labels=_ERROR,
)
STREAM_ERRORS = Declared(
    name="connector_stream_errors_total",
    kind="counter",
    group="X",
    meaning="Lines of X about errors that did not end the stream.",
)

SPEND_USD = Declared(
    name="connector_spend_usd_total",
    kind="counter",
    group="Money",
    meaning="Price of what this worker has read since it started, at X's list price (USD).",
)
BILLED_TODAY_POSTS = Declared(
    name="connector_billed_today_posts",
    kind="gauge",
    group="Money",
    meaning="Posts that X has billed since midnight UTC, over all restarts.",
    labels=_CONNECTOR,
)
SPENT_THIS_MONTH_USD = Declared(
    name="connector_spent_this_month_usd",
    kind="gauge",
    group="Money",
    meaning="Price of what was read since the begin of the UTC month, over all restarts, at X's list price (USD).",
    labels=_CONNECTOR,
)
BUDGET_USED_RATIO = Declared(
    name="connector_budget_used_ratio",
    kind="gauge",
    group="Money",
    meaning="Part of a budget that is used up; at 1 the connector waits for the next day or month.",
    labels={**_CONNECTOR, "period": "`day` (`budget.posts.per.day`), `month` (`budget.usd.per.month`)"},
)

WORKER_READY = Declared(
    name="connector_worker_ready",
    kind="gauge",
    group="Worker",
    meaning="1 while /ready answers 200, else 0.",
)
WORKER_INFO = Declared(
    name="connector_worker_info",
    kind="gauge",
    group="Worker",
    meaning="1, with what this worker is.",
    labels={"version": "version of the connector", "python": "version of Python"},
)
TASK_STATE = Declared(
    name="connector_task_state",
    kind="gauge",
    group="Worker",
    meaning="1 for the state in which a task of this worker is, 0 for the others.",
    labels={
        **_CONNECTOR,
        "task": "number of the task",
        "state": "as in [states](operations.md#states-of-a-task)",
    },
)
TASK_STARTS = Declared(
    name="connector_task_starts_total",
    kind="counter",
    group="Worker",
    meaning="Starts of a task on this worker.",
)

CATALOGUE: Sequence[Declared] = tuple(value for value in globals().values() if isinstance(value, Declared))
"""All of them, in the order in which they stand here."""
