"""
The connectors of one task: who they are, what they want together, and what each gets of the stream.

    change ─▶ compare ─▶ who comes, who goes, who wants something else ─▶ the rules at X ─▶ who is in force
                                                                                  └─▶ Router: whose is a line?

A task begins with one connector or several.  Once it has had several, idle ones among them, lines are split by the
rules that they matched, for the rest of its run: late posts of a connector that has left are not for the others.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from connector.coverage.allowance import SharedAllowance
from connector.errors import ConnectorError, InvalidRequest, RulesRefused
from connector.records.record import Destination, HeldRule, TaskId
from connector.task.ownership import Ownership
from connector.task.partition import Backfills
from connector.task.ports import Sink, Source
from connector.task.router import Router
from connector.task.rule_keeper import RuleKeeper
from connector.task.settings import Subscription
from connector.task.subscriber import LEAVE_SECS, Subscriber
from connector.telemetry.events.event import Event
from connector.telemetry.events.task import TaskFailed, TaskPaused


@dataclass(frozen=True, slots=True, kw_only=True)
class Wished:
    """
    The connectors that a task shall read for from now on, and who does not: X shall hold no rules of those *idle*.

    *restart* names those that begin anew, also if they have FAILED.  *parameters* are the fields and expansions to ask
    for, None if they stay as they are.
    """

    subscriptions: tuple[Subscription, ...]
    idle: frozenset[str] = frozenset()
    restart: frozenset[TaskId] = frozenset()
    parameters: Mapping[str, str] | None = None


class Subscribers:
    """
    The connectors that read *sources*, the source partitions of one stream (`connector.task.rule_keeper.Wishes`).

    *all* are those that have begun, or are the first ones, also if they have FAILED; *reading* are those of them that
    have not, and *named* has all by name.  *allowances* and *backfills* are what the reader of each source partition
    asks on behalf of all.  *router* splits lines; None while there is one connector, which gets all lines.  *changed*
    is called when a status may have changed.
    """

    def __init__(
        self,
        wished: Wished,
        sources: Sequence[Source],
        sink: Sink,
        ownership: Ownership,
        *,
        emit: Callable[[Event], None],
        changed: Callable[[], None],
    ) -> None:
        self.all: tuple[Subscriber, ...] = ()
        self.reading: tuple[Subscriber, ...] = ()
        self.named: Mapping[str, Subscriber] = {}
        self._know(Subscriber(each, ownership, sink) for each in wished.subscriptions)
        self.joining: list[Subscriber] = list(self.all)
        self.allowances = [SharedAllowance() for _ in sources]
        self.backfills = [Backfills() for _ in sources]
        self.router: Router | None = None
        self._keepers: Sequence[RuleKeeper] = ()
        self._sources, self._sink, self._ownership = sources, sink, ownership
        self._emit, self._changed = emit, changed
        self._idle = set(wished.idle)
        self._shared = len(self.all) > 1 or bool(wished.idle)
        self._asked: object = None
        """What X was last asked to hold, and for whom."""

    def __iter__(self) -> Iterator[Subscriber]:
        return iter(self.all)

    # -- who there is

    def _know(self, subscribers: Iterable[Subscriber]) -> None:
        self.all = tuple(subscribers)
        self.reading = tuple(each for each in self.all if each.failed is None)
        self.named = {each.name: each for each in self.all}

    @property
    def fresh(self) -> list[Subscriber]:
        """Those that may join now: one that begins anew waits until its last run has left."""
        return [each for each in self.joining if each.name not in self.named]

    @property
    def coming(self) -> list[Subscriber]:
        """Those that have to begin, the first ones among them."""
        return [each for each in self.all if each in self.joining] + self.fresh

    @property
    def destinations(self) -> tuple[Destination, ...]:
        """Where to deliver to."""
        return tuple(each.subscription.destination for each in (*self.all, *self.fresh))

    @property
    def leaving(self) -> list[Subscriber]:
        """Those that leave now: X holds their rules no more, or did not delete them in time."""
        about_to = [(each, each.leaves_by) for each in self.all if each.leaves_by is not None]
        return [each for each, by in about_to if not each.in_force or by <= time.monotonic()]

    # -- they come, go, change, rest and fail

    def compare(self, wished: Wished) -> None:
        """Begin what leads from those that are here to those that are *wished*."""
        wanted = {each.task: each for each in wished.subscriptions}
        for subscriber in self.all:
            known = wanted.get(subscriber.task)
            if known is None or subscriber.task in wished.restart or subscriber.writes_otherwise(known):
                subscriber.leave(LEAVE_SECS if known is None else 0.0)
            elif known != subscriber.subscription:
                subscriber.change(known)
        staying = {each.task for each in self.all if each.leaves_by is None}
        begun = [each for each in self.joining if each in self.all]
        come = [each for each in wished.subscriptions if each.task not in staying]
        self.joining = begun + [Subscriber(each, self._ownership, self._sink) for each in come]
        self._idle = {*wished.idle, *self._idle} - {each.name for each in wished.subscriptions}
        self._shared = self._shared or len(wanted) > 1 or bool(wished.idle)
        self.share_out()
        self.ask_for_rules()

    def rest_and_resume(self) -> None:
        """Take the rules of a connector out of the stream while its budget is spent, and let it come back."""
        if not self._shared:
            return  # the reader ends the connection
        for subscriber in self.reading:
            if subscriber.resting is None and (error := subscriber.budget_reached()):
                subscriber.resting = error
                wait_secs = round(max(error.resume_at - time.time(), 0.0))
                paused = TaskPaused(of=subscriber.task, error=error.name, reason=str(error), retry_in_secs=wait_secs)
                self._emit(paused)
            elif subscriber.resting is not None and not subscriber.rests and not subscriber.budget_reached():
                subscriber.resting = None
            else:
                continue
            self.ask_for_rules()

    def fail(self, failed: Mapping[Subscriber, ConnectorError]) -> ConnectorError | None:
        """End what is done for those that have *failed*; return the error of the last one if no other is left."""
        for subscriber, error in failed.items():
            if self.reading == (subscriber,):
                return error
            self.fail_alone(subscriber, error)
        if failed:
            self.share_out()
            self.ask_for_rules()
        return None

    def fail_alone(self, subscriber: Subscriber, error: ConnectorError) -> None:
        """End what is done for *subscriber*, which has failed; it may have yet to begin."""
        self._emit(TaskFailed(of=subscriber.task, error=error.name, reason=str(error)))
        subscriber.fail(error)
        self._know(self.all)

    def add(self, subscriber: Subscriber) -> None:
        """Count *subscriber* among those that have begun."""
        self._know((*self.all, subscriber))

    def remove(self, subscriber: Subscriber) -> None:
        """Forget *subscriber*; X shall hold no rules of it."""
        self._know(each for each in self.all if each is not subscriber)
        self._idle.add(subscriber.name)
        self.share_out()

    # -- what each gets

    def share_out(self) -> None:
        """Tell the parts that work for all which connectors there are."""
        begun = [each for each in self.reading if each.partitions]
        for number in range(len(self._sources)):
            mine = [each.partitions[number] for each in begun]
            self.allowances[number].share([each.progress.allowance for each in mine])
            self.backfills[number].share([each.repairer for each in mine])
        self._route()

    def _route(self) -> None:
        """Find out anew which lines are for which connector, and which of its rules each of them matched."""
        if not self._shared:
            self._tell_rules()
            return
        has_rules = any(each.subscription.wanted for each in self.all)
        self.router = Router([each.name for each in self.reading], self._tell_rules if has_rules else None)

    def _tell_rules(self) -> Mapping[str, Sequence[HeldRule]]:
        """Tell each connector which rules at X are its own, and return them by connector."""
        rules = {each: self._sources[0].rules_of(each.name) for each in self.reading}
        for each, its_rules in rules.items():
            each.know_rules(its_rules)
        return {each.name: its_rules for each, its_rules in rules.items()}

    def rules_for(self, subscriber: Subscriber, source: Source) -> Sequence[HeldRule]:
        """Return the rules whose posts *subscriber* gets; alone it gets those of all rules that X holds."""
        return source.rules_of(subscriber.name) if self._shared else source.rules

    # -- the rules at X

    def keep_rules(self, keepers: Sequence[RuleKeeper]) -> None:
        """Let *keepers* keep the rules at X."""
        self._keepers = keepers

    def ask_for_rules(self) -> None:
        """Let X hold what is wanted now, if that is something else than before."""
        if self._asked != (asking := self.wanted()):
            self._asked = asking
            for keeper in self._keepers:
                keeper.ask()
        self._changed()

    def wanted(self) -> tuple[Mapping[str, Mapping[str, str]], Collection[str]]:
        """Return the rules that X shall hold, by connector, and the connectors that want their posts."""
        rules: dict[str, Mapping[str, str]] = {name: {} for name in sorted(self._idle)}
        for subscriber in self.all:
            rules[subscriber.name] = subscriber.subscription.wanted if subscriber.wants else {}
        for subscriber in self.joining:  # one that begins anew keeps its rules meanwhile
            if subscriber.name in self.named and subscriber not in self.all:
                rules[subscriber.name] = subscriber.subscription.wanted
        return rules, [each.name for each in self.all if each.wants]

    def changing(self) -> None:
        """Let nobody claim time while the rules at X change."""
        for subscriber in self.all:
            for partition in subscriber.partitions:
                partition.rules_changing()

    def applied(self, names: Collection[str], moved: Collection[str]) -> None:
        """Take note that X sends the posts of the connectors *names* from now on, and of no others."""
        self._route()
        for subscriber in self.all:
            for partition in subscriber.partitions:
                if subscriber.name in names and subscriber.failed is None:
                    partition.rules_applied(moved=subscriber.name in moved)
                else:
                    partition.rules_gone(subscriber.absence)
        self._changed()

    def refused(self, error: RulesRefused) -> None:
        """
        Let those fail whose rules X refuses.

        Raises:
            RulesRefused: no other connector is left.
        """
        named = [each for each in self.reading if each.name in error.by_connector]
        if not named or len(named) == len(self.reading):
            raise error
        self.fail(
            {
                each: InvalidRequest(f"X refuses rules: {error.by_connector[each.name]}", title=error.title)
                for each in named
            }
        )
