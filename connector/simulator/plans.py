"""The plans of X's price list, and the limits of each plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PlanName = Literal["ppu", "enterprise", "pro", "basic", "free", "academic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The limits of one plan."""

    filtered_stream: bool
    connections: int
    rules: int
    rule_length: int
    posts_per_s: int | None
    reads_per_month: int
    searches_per_window: int
    search_query_length: int = 512
    archive_query_length: int = 1024
    enterprise: bool = False
    """Backfill, recovery by range, and the volume streams."""


PLANS: dict[PlanName, Plan] = {
    "ppu": Plan(
        filtered_stream=True,
        connections=1,
        rules=1000,
        rule_length=1024,
        posts_per_s=250,
        reads_per_month=3_000_000,
        searches_per_window=450,
    ),
    # The contract of an account decides about its rates; these are the values in X's table.
    "enterprise": Plan(
        filtered_stream=True,
        connections=2,
        rules=25_000,
        rule_length=2048,
        posts_per_s=None,
        reads_per_month=50_000_000,
        searches_per_window=450,
        search_query_length=4096,
        archive_query_length=4096,
        enterprise=True,
    ),
    "pro": Plan(
        filtered_stream=True,
        connections=1,
        rules=1000,
        rule_length=1024,
        posts_per_s=None,
        reads_per_month=1_000_000,
        searches_per_window=450,
    ),
    "basic": Plan(
        filtered_stream=False,
        connections=0,
        rules=0,
        rule_length=512,
        posts_per_s=None,
        reads_per_month=15_000,
        searches_per_window=60,
    ),
    "free": Plan(
        filtered_stream=False,
        connections=0,
        rules=0,
        rule_length=512,
        posts_per_s=None,
        reads_per_month=100,
        searches_per_window=1,
    ),
    "academic": Plan(
        filtered_stream=True,
        connections=1,
        rules=1000,
        rule_length=1024,
        posts_per_s=250,
        reads_per_month=10_000_000,
        searches_per_window=450,
    ),
}
