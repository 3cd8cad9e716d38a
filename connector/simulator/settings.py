"""The settings of the simulator."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the command line reads the annotations
from dataclasses import dataclass, field
from typing import Any, Literal

from connector.simulator.plans import PLANS, Plan, PlanName

Framing = Literal["message", "merged", "split"]
Ending = Literal["disconnect", "silent", "keep"]

LANGUAGES: Mapping[str, float] = {
    "en": 38,
    "ja": 17,
    "es": 10,
    "pt": 8,
    "ar": 6,
    "de": 4,
    "hi": 4,
    "tr": 4,
    "fr": 3,
    "ko": 3,
    "th": 2,
    "und": 1,
}
"""The share of each language in generated posts, in percent."""

HASHTAGS = ("murmuration", "python", "kafka", "faust", "starling", "meadow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """A burst: for `duration` seconds from second `at` on, the rate is `rate` posts a second."""

    at: float
    duration: float
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """
    All settings; times are in seconds.

    Defaults imitate X, except where X's value would make every test wait (`ghost_slot_s`, `delivery_lag`,
    `sample_percent`).  Where X's behaviour is not known for certain, a setting chooses it.
    """

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes any free port; `Simulator.url` names the port."""

    # Access.
    token: str = "simulated-token"  # noqa: S105 - opens nothing but a simulator
    consumer_key: str = "simulated-key"
    consumer_secret: str = field(
        default="simulated-secret",  # opens nothing but a simulator
        repr=False,
    )
    account_id: str = "1000000000000000001"
    client_id: str = "10000001"
    plan: PlanName = "ppu"
    rate_limits: Mapping[str, int] = field(default_factory=dict)
    """Requests per 15 minutes by endpoint, where X's limits do not fit."""
    enforce_rate_limits: bool = True

    # Posts.
    seed: int = 1
    rate: float = 0
    bursts: tuple[Burst, ...] = ()
    rules: tuple[tuple[str, str | None], ...] = ()
    """The rules of the account at the start: pairs of value and tag."""
    hashtags: tuple[str, ...] = HASHTAGS
    hashtag_share: float = 0.4
    languages: Mapping[str, float] = field(default_factory=lambda: dict(LANGUAGES))
    users: int = 300
    match_rules: bool = True
    """Make posts that match the rules of the account; `rate` then counts matching posts."""
    match_share: float = 0.8
    duplicate_every: int = 0
    out_of_order_s: float = 0
    delivery_lag: Literal["none", "realistic"] = "none"
    delivery_lag_s: float = 4.8
    """The median of the realistic lag; 99 % of the posts arrive within one and a half times the median."""
    delivery_cap: bool = False
    """Drop posts beyond the posts per second of the plan."""
    sample_percent: float = 100
    """The share of all posts on the sample stream; 1 imitates X."""
    sample10_percent: float = 100
    """The share of all posts on the sample10 stream; 10 imitates X."""
    store_posts: int = 50_000
    """How many posts search, counts, backfill and recovery can find."""
    store_days: float = 7

    # Streams.
    keepalive_s: float = 20
    keepalive_jitter_s: float = 0
    framing: Framing = "message"
    stream_gzip: bool = False
    key_order: Literal["shuffled", "alphabetical"] = "shuffled"
    astral: Literal["escaped", "raw"] = "escaped"
    hostile: bool = False
    long_text_cut: Literal["recorded", "report"] = "recorded"
    edit_window_min: int = 60
    buffer_bytes: int = 64 * 1024 * 1024
    slow_reader_s: float = 60
    socket_send_bytes: int | None = None
    """The size of the kernel's send buffer; with a small buffer a slow reader is noticed earlier."""

    # Answers.
    second_connection: Literal["reject", "kick_old"] = "reject"
    ghost_slot_s: float = 0
    count_refused: bool = True
    problem_host: str = "api.twitter.com"
    error_content_type: str = "application/json; charset=utf-8"
    rules_cap_status: int = 422
    rule_delay_s: float = 0
    keyword_matches_hashtag: bool = True
    search_retweets: bool = False
    search_freshness_s: float = 30
    absent: frozenset[str] = frozenset()
    """Endpoints that are answered with 404: connections, rules_counts, usage, ..."""

    # Money.
    credit_usd: float = 1_000_000
    spend_cap_usd: float | None = None
    usage_cap: int | None = None
    """Reads per month; none means the cap of the plan."""
    post_price_usd: float = 0.005
    user_price_usd: float = 0.010
    credits_end: Ending = "disconnect"
    cap_end: Ending = "disconnect"

    # Faults and the log.  A step of the schedule: {"fault": name, "at": seconds or "after_posts": count, ...}.
    faults: tuple[Mapping[str, Any], ...] = ()
    emissions_log: str | None = None
    """The file to which each emission is appended as a JSON line."""
    emissions_kept: int = 1_000_000

    # Prepared bytes for benchmarks.
    feed: bool = False
    line_bytes: int = 2600
    feed_chunk_bytes: int = 64 * 1024
    feed_lines: int | None = None
    """How many lines the feed writes to each connection; none means lines without end."""
    feed_end: Literal["idle", "close"] = "idle"

    @property
    def profile(self) -> Plan:
        return PLANS[self.plan]
