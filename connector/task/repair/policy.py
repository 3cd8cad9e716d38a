"""
By which way is a gap repaired?  (Pure.)

| age of the gap | plan | way |
|---|---|---|
| up to 5 min | enterprise | `backfill_minutes` on the reconnect (X replays the last minutes first) |
| up to 24 h | enterprise | a second connection with `start_time` and `end_time`, where the stream has them |
| up to 7 days | any | recent search, rule by rule, if the stream has rules |
| older | any | none |

docs.x.com: recovery-and-redundancy.  A way that X has refused to this account is not tried again.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from connector.coverage.offset import Gap, Way

HOUR_MS = 3_600_000
RECOVERY_MS = 24 * HOUR_MS
SEARCH_MS = 7 * 24 * HOUR_MS
EDGE_MS = 600_000
"""A gap counts as too old this long before X's limit, as its repair takes time (ms)."""

MINUTE_MS = 60_000

FRESH_MS = 33_000
"""How old the end of a gap must be for a search: X needs 30 s (docs.x.com), and clocks may differ (ms)."""

CONNECT_MS = 5_000
"""A connect may take this long until X counts the minutes of a backfill, which must reach the gap's begin (ms)."""

REPLAY_SLICE_MS = 10 * MINUTE_MS
"""Length of the pieces in which a replay is requested, newest first; after a crash it goes on with the next (ms)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The *ways* that the configuration, the plan and the stream allow, and those that X has *refused*."""

    ways: frozenset[Way]
    none_because: str
    """The reason to show if none of the ways is left."""
    backfill_max_minutes: int = 5
    refused: Mapping[Way, str] = field(default_factory=dict)

    def has(self, way: Way) -> bool:
        """Return whether *way* may be tried."""
        return way in self.ways and way not in self.refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """Repair the gap by this way."""

    way: Way


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Call `step_for` again in *secs*."""

    secs: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """X offers no way to repair the gap."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Divide the gap at *at_ms*: the part before is too old, the rest is not."""

    at_ms: int


Step = Repair | Wait | Lost | Split


def step_for(gap: Gap, now_ms: int, policy: Policy) -> Step | None:
    """Return what to do about *gap* at *now_ms* (X's clock); None: nothing, as it is configured."""
    border = now_ms - SEARCH_MS + EDGE_MS
    if gap.to_ms <= border:
        return Lost(reason="older than the 7 days that X's search reaches back")
    if not policy.ways:
        return None
    way = _way(gap, now_ms, policy)
    if way is None:
        return Lost(reason=_reason(gap, now_ms, policy))
    if way is Way.SEARCH and gap.from_ms < border - EDGE_MS // 2:  # else the later part would be split again at once
        return Split(at_ms=border)
    ripe_ms = gap.to_ms + FRESH_MS
    if now_ms < ripe_ms:
        return Wait(secs=(ripe_ms - now_ms) / 1000, reason="until X has all of it")
    return Repair(way=way)


def backfill_minutes(missing_since_ms: int, now_ms: int, policy: Policy) -> int | None:
    """Return how many minutes of backfill a connect at *now_ms* should ask for; None if a backfill is not possible."""
    if not policy.has(Way.BACKFILL):
        return None
    minutes = math.ceil((now_ms - missing_since_ms + CONNECT_MS) / MINUTE_MS)
    return minutes if 0 < minutes <= policy.backfill_max_minutes else None


def _way(gap: Gap, now_ms: int, policy: Policy) -> Way | None:
    if policy.has(Way.RECOVERY) and gap.from_ms > now_ms - RECOVERY_MS + EDGE_MS:
        return Way.RECOVERY
    return Way.SEARCH if policy.has(Way.SEARCH) else None


def _reason(gap: Gap, now_ms: int, policy: Policy) -> str:
    reasons = [reason for way, reason in policy.refused.items() if way is not Way.BACKFILL]
    if Way.RECOVERY in policy.ways and gap.from_ms <= now_ms - RECOVERY_MS + EDGE_MS:
        reasons.append("older than the 24 hours that X replays")
    if Way.SEARCH not in policy.ways:
        reasons.append(policy.none_because)
    return "; ".join(dict.fromkeys(filter(None, reasons))) or policy.none_because
