"""
Which posts is a connector to have?  (Pure.)

    created          changed              paused     resumed
    ───┼──────╢───────┼─────────╢──────────┼──────────┼──────────╢─────────▶ creation time
       began  firm    began     firm                             firm
              └ sure ┘└─ old ∩ new sure ─┘└── sure: what it misses is a gap of its own, repaired with its old rules

After each act there is a moment from which on the connector surely reads with the rules that were asked for last: X
holds them, and the connector has claimed time behind that moment.  Between two such moments it is to have what every
one of the sets of rules asked for meanwhile has, and may have what any of them has.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

EARLY_MS = 5_000
"""A post may be so much older than the connector that gets it: X sends late, and another one had the rule before."""

Labels = frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something that was asked of a connector, and the labels of the rules that it is to have from then on."""

    kind: str
    began: float
    done: float
    rules: Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Firm:
    """*at* this time (UNIX seconds) it had claimed the time up to *claimed_ms*, reading with *rules*."""

    at: float
    claimed_ms: int
    rules: Labels


@dataclass(slots=True)
class History:
    """What was asked of one connector, and what came of it; both by time."""

    acts: list[Act] = field(default_factory=list)
    firms: list[Firm] = field(default_factory=list)

    def firm_after(self, at: float) -> Firm | None:
        """Return the first moment after *at* from which on it surely read."""
        return next((firm for firm in self.firms if firm.at > at), None)

    def firm_before(self, act: Act) -> bool:
        """Return whether nothing else was asked of it between *act* and a moment from which on it surely read."""
        before = [firm.at for firm in self.firms if firm.at <= act.began]
        return bool(before) and not any(before[-1] < other.began < act.began for other in self.acts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Times up to *to_ms*: a post made then that matches a *sure* rule is there, and none that matches no *perhaps*."""

    to_ms: float
    sure: Labels
    perhaps: Labels


def spans(history: History, covered_from_ms: int) -> list[Span]:
    """Return what the connector is to have, by time; its coverage begins at *covered_from_ms*."""
    begin_ms = round(history.acts[0].began * 1000) - EARLY_MS
    nothing: Labels = frozenset()
    found = [Span(to_ms=begin_ms, sure=nothing, perhaps=nothing)]
    before: Firm | None = None
    for firm in history.firms:
        asked = [
            act.rules for act in history.acts if (before is None or before.at < act.began) and act.began <= firm.at
        ]
        if before is not None:
            asked.append(before.rules)
        sure, perhaps = frozenset.intersection(*asked), frozenset.union(*asked)
        if before is None:
            found.append(Span(to_ms=covered_from_ms, sure=nothing, perhaps=perhaps))
        found.append(Span(to_ms=firm.claimed_ms, sure=sure, perhaps=perhaps))
        before = firm
    if before is not None:
        found.append(Span(to_ms=float("inf"), sure=before.rules, perhaps=before.rules))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Ids of posts that are *missing*, that are there although they are for others, and how many were to be there."""

    missing: tuple[int, ...]
    strays: tuple[int, ...]
    sure: int


def judge(posts: Mapping[int, tuple[int, Labels]], found: Collection[int], wanted: list[Span]) -> Verdict:
    """Compare what was *found* with what is *wanted*; *posts* have their creation time (ms) and what they match."""
    missing, strays, sure = [], [], 0
    for post_id, (made_ms, labels) in posts.items():
        span = next(span for span in wanted if made_ms < span.to_ms)
        is_sure = not span.sure.isdisjoint(labels)
        sure += is_sure
        if is_sure and post_id not in found:
            missing.append(post_id)
        elif post_id in found and span.perhaps.isdisjoint(labels):
            strays.append(post_id)
    return Verdict(missing=tuple(missing), strays=tuple(strays), sure=sure)
