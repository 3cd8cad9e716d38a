"""
How many posts does a stream deliver beyond what X counts?  Measured on the rules of a connector that runs.

    GET /history of a worker: posts that X has sent ─┐
                                                     ├─▶ percent more, of the posts of rules that miss some
    X's counts for the same rules and the same time ─┘

The time is the latest, up to a day, in which the connector heard X without a gap and had the rules that it has now.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connector.cli.connectors.client import Client
from connector.config.rules import Rule as WantedRule
from connector.records.snowflake import from_iso
from connector.sources.archive.counts import MINUTE_MS, Counting, acts_from_ms
from connector.sources.archive.estimates import Questions, questions
from connector.sources.rest.rules import Rule

RANGE = "24h"
POSTS_MIN = 200
"""Fewer posts say too little: of 200 the share is right to a few percent."""

GRACE_MS = MINUTE_MS
"""X may not have counted younger posts yet."""

REQUESTS = 2
"""Requests of counts: for all rules, and for those that miss some."""


class Unmeasured(Exception):
    """Nothing can be measured; the message is a sentence that says why."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The time in which X was heard, from *from_ms* up to *to_ms* (UNIX ms), and the *posts* that it sent."""

    from_ms: int
    to_ms: int
    posts: int


@dataclass(frozen=True, slots=True)
class Measured:
    """In the time *heard* X counts *counted* posts for the same rules: *percent* more came for rules that miss some."""

    heard: Heard
    counted: int
    percent: float


def heard_of(document: Mapping[str, Any], name: str, *, since_ms: int, now_ms: int) -> Heard:
    """
    Return the latest time without a gap in a *document* of `/history` for connector *name*; *since_ms* is its earliest.

    Pure.

    Raises:
        Unmeasured: there is none, or too few posts came in it.
    """
    state, series = document["state"]["connectors"][name], document["range"]["series"]
    ends = [from_iso(gap["to"]) for gap in (*state["gaps"], *state["closed"])]
    earliest_ms = max([since_ms, *ends])
    points = list(zip((int(t) * 1000 for t in series["t"]), series["received"], strict=True))
    while points and points[-1][0] > now_ms - GRACE_MS:
        points.pop()
    if not points:
        raise Unmeasured(f"The history of {name} begins only now.")
    to_ms = from_ms = points.pop()[0]  # the last point still grows
    posts = 0
    for at_ms, received in reversed(points):
        if received is None or at_ms < earliest_ms:
            break
        from_ms, posts = at_ms, posts + received
    if posts < POSTS_MIN:
        raise Unmeasured(
            f"Only {posts:,} posts of {name} came since its last gap, the last change of its rules and the begin of its"
            f" history: {POSTS_MIN} are needed."
        )
    return Heard(from_ms, to_ms, posts)


class Measurement:
    """Measures on connector *name*, of whose rules X holds *rules*, in queries of at most *max_characters*."""

    def __init__(self, name: str, rules: Sequence[Rule], max_characters: int) -> None:
        """Raises `Unmeasured` if the rules do not fit into one query, or none misses anything."""
        self._name, self._rules = name, rules
        wanted = [WantedRule(rule.value, rule.tag) for rule in rules]
        asked = questions(wanted, max_characters)
        missing = questions([each.rule for each in asked.rules if each.misses], max_characters)
        if asked.left_out or len(asked.parts) != 1 or len(missing.parts) != 1:
            raise Unmeasured(
                f"X cannot count the rules of {name} in one query, or counts all of their posts: there is nothing to"
                " compare."
            )
        self._all, self._missing = _query(asked), _query(missing)

    def run(self, client: Client, counting: Counting, *, now_ms: int, answered: Callable[[], None]) -> Measured:
        """
        Ask a worker, and X.

        Raises:
            Unmeasured: there is not enough to compare.
            Unreachable, Failed: the worker does not tell.
            ConnectorError: X refuses, or cannot be reached.
        """
        document = client.get("history", range=RANGE, connector=self._name)
        heard = heard_of(document, self._name, since_ms=max(map(acts_from_ms, self._rules)), now_ms=now_ms)
        counted = counting.total(self._all, heard.from_ms, heard.to_ms)
        answered()
        missing = counting.total(self._missing, heard.from_ms, heard.to_ms)
        answered()
        if not missing:
            raise Unmeasured(f"X counts no post of the rules of {self._name} that miss some.")
        return Measured(heard, counted, 100 * max(heard.posts - counted, 0) / missing)


def _query(asked: Questions) -> str:
    (part,) = asked.parts
    return part.query
