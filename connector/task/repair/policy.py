"""
How is a gap repaired?  (Pure.)

| gap | plan | way |
|---|---|---|
| up to 5 min | enterprise | `backfill_minutes` on the reconnect (X replays the last minutes first) |
| up to 24 h | enterprise | a second connection with `start_time` and `end_time`, where the stream has them |
| up to 7 days | any | recent search per rule, of a stream that has rules |
| older | any | none |

docs.x.com: recovery-and-redundancy.  A way that X refuses to this account is left out from then on.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from connector.coverage.offset import Gap, Way

HOUR_MS = 3_600_000
RECOVERY_MS = 24 * HOUR_MS
SEARCH_MS = 7 * 24 * HOUR_MS
EDGE_MS = 600_000
"""So long before X's limits a gap counts as too old: a repair takes its time."""

MINUTE_MS = 60_000

FRESH_MS = 33_000
"""A search is complete when the youngest post is 30 s old (docs.x.com); some seconds more for the clocks."""

CONNECT_MS = 5_000
"""So long a connect may take until X begins to count a backfill, which must reach back to the gap's begin."""

REPLAY_SLICE_MS = 10 * MINUTE_MS
"""A replay is asked for in pieces of this length, the newest first: after a crash it goes on with the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the configuration wants (*ways*) of what the plan and the stream have, and what X has *refused*."""

    ways: frozenset[Way]
    none_because: str
    """Why there may be none of them, for people."""
    backfill_max_minutes: int = 5
    refused: Mapping[Way, str] = field(default_factory=dict)

    def has(self, way: Way) -> bool:
        """Return whether *way* may be tried."""
        return way in self.ways and way not in self.refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """Repair it so."""

    way: Way


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Ask again in *secs*."""

    secs: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """X offers no way."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What lies before *at_ms* is too old, the rest is not."""

    at_ms: int


Step = Repair | Wait | Lost | Split


def step_for(gap: Gap, now_ms: int, policy: Policy) -> Step | None:
    """Return what is to be done about *gap* at *now_ms* (X's clock); None: nothing, as the configuration wants."""
    border = now_ms - SEARCH_MS + EDGE_MS
    if gap.to_ms <= border:
        return Lost(reason="older than the 7 days that X's search reaches back")
    if not policy.ways:
        return None
    way = _way(gap, now_ms, policy)
    if way is None:
        return Lost(reason=_reason(gap, now_ms, policy))
    if way is Way.SEARCH and gap.from_ms < border - EDGE_MS // 2:  # else what was split would be split again at once
        return Split(at_ms=border)
    ripe_ms = gap.to_ms + FRESH_MS
    if now_ms < ripe_ms:
        return Wait(secs=(ripe_ms - now_ms) / 1000, reason="until X has all of it")
    return Repair(way=way)


def backfill_minutes(missing_since_ms: int, now_ms: int, policy: Policy) -> int | None:
    """Return how many minutes a reconnect at *now_ms* should ask for, None if that cannot fill the gap."""
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
