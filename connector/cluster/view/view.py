"""The document that is shown: what is so now, what was in a range of time, and what happened."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from connector import __version__
from connector.cluster.configs import Connector
from connector.cluster.overview import Overview
from connector.cluster.view import money
from connector.cluster.view.connectors import (
    KINDS_OF,
    KINDS_OF_DELIVERY,
    Offsets,
    Pace,
    connector_of,
    delivers_since,
    offsets_of,
)
from connector.cluster.view.rates import Rates
from connector.cluster.view.terms import Terms
from connector.cluster.view.verdict import verdict_of
from connector.cluster.view.workers import workers_of
from connector.history.channels import DAY_SECS
from connector.history.fold import History
from connector.history.ranges import Range
from connector.history.records import MINUTE_SECS, Told
from connector.history.timeline import text_of
from connector.kafka.state.history_log import HistoryLog
from connector.records.record import TaskId
from connector.records.snowflake import from_iso, to_iso

EVENTS_MAX = 500
RULES_MAX = 1_000
LEAST_KNOWN_SECS = 300
"""With less than this known of the last day, there is no mean of it (seconds)."""

FRESH_SECS, FRESH_SECS_EACH = 0.9, 0.02
"""How long what was read out of a connector's offsets is shown, and how much longer for each connector (seconds)."""

RANGES_KEPT = 20
"""The most ranges whose points are kept until the next minute."""


@dataclass(slots=True)
class _Known:
    """What was found of one connector, and from what."""

    of: object
    at: float
    offsets: Offsets


@dataclass(slots=True, kw_only=True)
class View:
    """
    What this worker shows of its group.

    *terms* reads what is shown of a configuration, *group_id* is the group's name, *members* returns how many workers
    it has (0: not known) and *dealt_ms* when its tasks were dealt last (UNIX ms).
    """

    overview: Overview
    history: History
    log: HistoryLog
    terms: Callable[[Connector], Terms]
    group_id: str
    members: Callable[[], int]
    dealt_ms: Callable[[], int | None]
    clock: Callable[[], float] = time.time
    _rates: Rates = field(default_factory=Rates)
    _terms: dict[str, tuple[Mapping[str, str], Terms]] = field(default_factory=dict)
    _known: dict[str, _Known] = field(default_factory=dict)
    _paces: dict[str, tuple[int, Pace]] = field(default_factory=dict)
    _ranges: dict[tuple[str, str | None], tuple[object, dict[str, Any]]] = field(default_factory=dict)

    # -- what is so now

    def state(self) -> dict[str, Any]:
        """Return what is so now; the same for all ranges of time."""
        now_ms = int(self.clock() * 1000)
        starting = self.overview.starting()
        names = self.overview.names() if starting is None else []
        self._keep(set(names))
        connectors = {name: shown for name in names if (shown := self._connector(name, now_ms)) is not None}
        unusable = self.overview.unhealthy()
        statuses, history = self.overview.statuses, self.history
        rates = [each["posts_per_sec"] for each in connectors.values() if each["posts_per_sec"] is not None]
        document: dict[str, Any] = {
            "worker": {
                "id": statuses.worker_id,
                "process": statuses.process,
                "version": __version__,
                "group": self.group_id,
            },
            "kafka": {"usable": unusable is None, "reason": unusable},
            "history": {
                "complete": self.log.caught_up.is_set(),
                "reason": None if self.log.caught_up.is_set() else "The history is being read.",
                "lost_minutes": history.lost_minutes,
                "left_out_events": history.left_out_events,
            },
            "connectors": connectors,
            "spend": money.together(each["spend"] for each in connectors.values()),
            "workers": workers_of(history.lives, statuses.process, self.members(), self.dealt_ms(), now_ms),
            "members": self.members() or None,
            "connections": {
                "open": len(self._connections(connectors)),
                "tasks": sum(each["state"] == "RUNNING" for each in connectors.values()),
            },
            "posts_per_sec": round(sum(rates), 2) if rates else None,
        }
        return {"verdict": verdict_of(document, starting), **document}

    def _keep(self, names: set[str]) -> None:
        self._rates.keep(names)
        for name in self._terms.keys() - names:
            for known in (self._terms, self._known, self._paces):
                known.pop(name, None)

    def _connector(self, name: str, now_ms: int) -> dict[str, Any] | None:
        found, status = self.overview.configs.get(name), self.overview.status(name)
        if found is None or status is None:
            return None
        terms, pace = self._terms_of(found), self._pace_of(name, now_ms)
        offsets = self._offsets_of(name, terms, pace)
        told = {number: self.overview.statuses.of(TaskId(name, number)) for number in range(found.tasks)}
        shown = connector_of(
            status,
            {number: shared for number, shared in told.items() if shared is not None},
            offsets,
            terms,
            pace=pace,
            posts_per_sec=self._rate(name, offsets.posts),
            now_ms=now_ms,
        )
        since = self.history.last(name, KINDS_OF.get(shown["state"], ()))
        return {
            "state": shown.pop("state"),
            "since": None if since is None else to_iso(since),
            "delivers_since": delivers_since(shown, self.history.last(name, KINDS_OF_DELIVERY)),
            **shown,
        }

    def _rate(self, name: str, posts: int) -> float | None:
        """Return the posts a second: of late, or of the last minute if nobody has looked for long enough."""
        rate, minute = self._rates.note(name, posts, time.monotonic()), self.history.newest_minute
        if rate is not None or not minute:
            return rate
        return round(self.history.total(name, "delivered", minute, minute + MINUTE_SECS) / MINUTE_SECS, 2)

    def _terms_of(self, connector: Connector) -> Terms:
        known = self._terms.get(connector.name)
        if known is None or known[0] != connector.config:
            known = self._terms[connector.name] = (connector.config, self.terms(connector))
        return known[1]

    def _pace_of(self, name: str, now_ms: int) -> Pace:
        """Return the mean of the last day, computed once for each minute of the history."""
        known = self._paces.get(name)
        if known is None or known[0] != self.history.minutes_applied:
            known = self._paces[name] = (self.history.minutes_applied, self._pace(name, now_ms // 1000))
        return known[1]

    def _pace(self, name: str, now_secs: int) -> Pace:
        begun = self._known[name].offsets.covered["covered_from"] if name in self._known else None
        since = max(now_secs - DAY_SECS, 0 if begun is None else from_iso(begun) // 1000)
        secs = self.history.known_secs(since, now_secs)
        if secs < LEAST_KNOWN_SECS:
            return Pace()
        return Pace(
            posts_per_sec=self.history.total(name, "delivered", since, now_secs) / secs,
            mills_per_hour=self.history.total(name, "mills", since, now_secs) / secs * 3600,
        )

    def _offsets_of(self, name: str, terms: Terms, pace: Pace) -> Offsets:
        """
        Return what the offsets say.

        An outage that begins or ends is seen at once; what else changes, with each offset or with the time, is seen
        after a second, or some seconds where there are many connectors.
        """
        of, now = (self.overview.outages_of(name), terms, pace), time.monotonic()
        known = self._known.get(name)
        if known is None or known.of != of or now - known.at >= FRESH_SECS + FRESH_SECS_EACH * len(self._known):
            values = [value for _, value, _ in self.overview.offsets.coverage(name)]
            found = offsets_of(values, self.overview.coverage_of(name), terms, pace)
            known = self._known[name] = _Known(of, now, found)
        return known.offsets

    def _connections(self, names: Mapping[str, Any]) -> set[object]:
        statuses = (
            self.overview.statuses.of(TaskId(name, int(number)))
            for name, connector in names.items()
            for number in connector["tasks"]
        )
        return {handle for shared in statuses if shared is not None for handle in shared.status.open_now}

    @property
    def process(self) -> str:
        """What is unique to this run of this worker."""
        return self.overview.statuses.process

    # -- what was

    def has_events_after(self, event: int) -> bool:
        """Return whether all events after the id *event* are at hand, and *event* is one of this topic's."""
        known = self.history.oldest_event - 1 <= event or self.history.holds_all_events
        return known and (event <= self.history.newest_event or not self.log.caught_up.is_set())

    def range(self, span: Range, connector: str | None = None) -> dict[str, Any]:
        """Return the points, sums and rules of *span*, of all connectors or one, computed once for each minute."""
        now = self.clock()
        of = (self.history.minutes_applied, span.span(now), self.overview.configs.names())
        known = self._ranges.pop((span.name, connector), None)
        if known is None or known[0] != of:
            known = (of, self._range(span, connector, now))
        self._ranges[span.name, connector] = known
        if len(self._ranges) > RANGES_KEPT:
            del self._ranges[next(iter(self._ranges))]
        return known[1]

    def _range(self, span: Range, connector: str | None, now: float) -> dict[str, Any]:
        begin, end = span.span(now)
        names = [name for name in self.overview.names() if connector in {None, name}]
        totals = {name: self.history.totals(span, now, name) for name in names}
        rules = [rule for name in names for rule in self._rules(span, now, name, totals[name]["received"])]
        rules.sort(key=lambda rule: (-rule[1]["posts"], rule[0]))
        return {
            "name": span.name,
            "connector": connector,
            "from": to_iso(begin * 1000),
            "to": to_iso(end * 1000),
            "step_secs": span.step_secs,
            "series": self.history.series(span, now, connector),
            "connectors": totals,
            "rules": dict(rules[:RULES_MAX]),
            "rules_left_out": max(len(rules) - RULES_MAX, 0),
        }

    def _rules(self, span: Range, now: float, name: str, received: int) -> list[tuple[str, dict[str, Any]]]:
        found = self.overview.configs.get(name)
        terms = Terms() if found is None else self._terms_of(found)
        counted = self.history.rules(span, now, name)
        secs = self.history.known_secs(int(now) - span.secs, int(now)) if span.secs <= DAY_SECS else span.secs
        shown = []
        for label in {**dict.fromkeys(terms.rules), **{each: None for each, (posts, _) in counted.items() if posts}}:
            posts, alone = counted.get(label, (0, 0))
            shown.append(
                (
                    f"{name}/{label}",
                    {
                        "connector": name,
                        "label": label,
                        "value": terms.rules.get(label),
                        "in_force": label in terms.rules,
                        "posts": posts,
                        "posts_per_sec": round(posts / secs, 4) if secs else None,
                        "share": round(posts / received, 4) if received else None,
                        "overlap": posts - alone,
                        "overlap_share": round((posts - alone) / posts, 4) if posts else None,
                        "usd": round(posts * terms.budget.mills_each / 1000, 3),
                        "usd_alone": round(alone * terms.budget.mills_each / 1000, 3),
                    },
                )
            )
        return shown

    def events(self, span: Range, connector: str | None = None, *, after: int = -1) -> list[dict[str, Any]]:
        """Return the events of *span* with ids above *after*, newest first."""
        from_ms = int((self.clock() - span.secs) * 1000)
        most = EVENTS_MAX if connector is None else 10 * EVENTS_MAX
        found = [
            event_of(offset, told)
            for offset, told in self.history.events(from_ms, most, after=after)
            if connector is None or told.connector in {None, connector}
        ]
        return found[:EVENTS_MAX]


def event_of(offset: int, told: Told) -> dict[str, Any]:
    """Return an event as it is shown; its id is that of its record in Kafka."""
    return {
        "id": str(offset),
        "at": to_iso(told.at),
        "kind": told.kind,
        "level": told.level,
        "connector": told.connector,
        "task": told.task,
        "worker_id": told.worker,
        "by": told.by,
        "text": text_of(told),
        "fields": told.fields,
    }
