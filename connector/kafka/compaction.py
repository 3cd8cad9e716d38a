"""Does a topic forget, in the time that X allows, the posts that tombstones withdraw from it?  (Pure.)"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

FORGET_MS = 86_400_000
"""X's developer policy (content compliance): what is withdrawn must be gone within 24 hours (ms)."""

LAG_MS = 43_200_000
"""`max.compaction.lag.ms` of topics that are made, and in the cures: Kafka's cleaner needs time for its work, too."""

_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000


class Doubt(NamedTuple):
    """Why a topic keeps withdrawn posts too long, and the cure."""

    why: str
    cure: str


def doubts(topic: str, settings: Mapping[str, str]) -> Iterator[Doubt]:
    """
    Yield why *topic*, which has these effective *settings*, keeps withdrawn posts too long.

    Settings that the broker does not tell are taken for good.
    """
    policies = {each.strip() for each in settings.get("cleanup.policy", "compact").split(",")}
    kept_ms = _number(settings, "retention.ms") if "delete" in policies else None
    if kept_ms is not None and 0 <= kept_ms <= FORGET_MS:
        return  # all posts go in time
    if "compact" not in policies:
        how_long = "for ever" if kept_ms is None or kept_ms < 0 else f"for {_span(kept_ms)}"
        yield Doubt(
            f"The topic {topic} has cleanup.policy={settings['cleanup.policy']}: it keeps the text of withdrawn posts"
            f" {how_long}, and X allows 24 hours.",
            _cure(topic, f"cleanup.policy=[compact,delete],max.compaction.lag.ms={LAG_MS}"),
        )
        return
    lag_ms = _number(settings, "max.compaction.lag.ms")
    if lag_ms is not None and not 0 <= lag_ms <= FORGET_MS:
        yield Doubt(
            f"The topic {topic} has max.compaction.lag.ms={lag_ms}: Kafka may leave withdrawn posts in it for longer"
            " than the 24 hours that X allows.",
            _cure(topic, f"max.compaction.lag.ms={LAG_MS}"),
        )
    least_ms = _number(settings, "min.compaction.lag.ms")
    if least_ms is not None and least_ms > FORGET_MS:
        yield Doubt(
            f"The topic {topic} has min.compaction.lag.ms={least_ms}: withdrawn posts stay in it for longer than the 24"
            " hours that X allows.",
            _cure(topic, "min.compaction.lag.ms=0"),
        )


def _cure(topic: str, settings: str) -> str:
    return f"Change it with kafka-configs.sh --alter --topic {topic} --add-config {settings}"


def _span(ms: int) -> str:
    return f"{ms / _DAY_MS:,.3g} days" if ms >= _DAY_MS else f"{ms / _HOUR_MS:,.3g} hours"


def _number(settings: Mapping[str, str], name: str) -> int | None:
    text = settings.get(name) or ""
    return int(text) if text.removeprefix("-").isdecimal() else None
