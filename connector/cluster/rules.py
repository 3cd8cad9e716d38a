"""
The rules at X beside those that a connector wants, and the request to put them in force.

Any worker asks X which rules it holds; the worker that runs the task changes them (`task/rule_keeper`), so nobody else
does.  It looks by itself before each connect and after each change of a configuration; here it is asked to look at
once, for rules that somebody has deleted at X by hand, or that an error has left there.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from connector.cluster import sentences
from connector.cluster.configs import Configs, Connector, TargetState
from connector.cluster.refused import Conflicting, Refused, Unavailable
from connector.cluster.statuses import Statuses
from connector.cluster.view.terms import Terms
from connector.errors import ConfigError, ConnectorError, RateLimited
from connector.records.record import TaskId
from connector.records.snowflake import to_iso
from connector.sources.rest.plan import Plan, planned_beside
from connector.sources.rest.rules import Rule
from connector.task.status import State

SHOWN_MAX = 200
"""The most rules of a kind that are shown; all are counted."""

FRESH_SECS = 15.0
"""
For so long an answer of X is shown again.

X allows an app 450 such requests in 15 minutes, and its tasks need them: without one they do not connect.
"""

AGAIN_SECS = 2.0
APPLIED_SECS = 20.0
"""So long after rules were to be put in force, an answer of X is shown again for `AGAIN_SECS` only."""

KEPT_SECS = 900.0
"""How old an answer may be that is shown while X counts too many requests: its limits end after 15 minutes."""

APPS_MAX = 32
"""The most apps whose rules are remembered."""

ANSWER_SECS = 25.0
"""The longest time until X has told all its rules, in seconds."""

FILTERED = "filtered"

_K = TypeVar("_K")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What X told at *told_at* (UNIX time), and when it was last asked (monotonic seconds)."""

    rules: Sequence[Rule]
    asked_at: float
    told_at: float


class ConnectorRules:
    """
    The rules of the group's connectors.

    *held* asks X for the rules of a connector's app, and *app* says which that is.  *terms* reads a configuration,
    *look* asks the owner to look.
    """

    def __init__(
        self,
        configs: Configs,
        statuses: Statuses,
        *,
        held: Callable[[Connector], Awaitable[Sequence[Rule]]],
        app: Callable[[Connector], Hashable],
        terms: Callable[[Connector], Terms],
        look: Callable[[str], Awaitable[None]],
    ) -> None:
        self._configs, self._statuses = configs, statuses
        self._held, self._app, self._terms, self._look = held, app, terms, look
        self._seen: dict[Hashable, _Seen] = {}
        self._applied_at = -math.inf
        self._failed: dict[Hashable, tuple[float, str]] = {}
        self._asking: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    async def plan(self, name: str) -> dict[str, Any]:
        """
        Return what the owner of the task would change at X for the connector *name*.

        Raises:
            NotFound: there is no such connector.
            Conflicting: this worker cannot read its configuration.
            Refused: its stream has no rules.
            Unavailable: X does not answer, or refuses.
        """
        connector = self._with_rules(name)
        seen = await self._rules_at_x(connector)
        names = {each.name: each for each in self._configs.all_at(connector.slots[0])} if connector.slots else {}
        names[name] = connector
        wanted = {each.name: self._wanted(each) for each in names.values()}
        plan = planned_beside(name, wanted, seen.rules, self._objection(connector))
        return _fields(plan, connector.target) | {"told_at": to_iso(int(seen.told_at * 1000))}

    async def apply(self, name: str) -> None:
        """
        Ask the owner of the task of connector *name* to make X hold its rules at once.

        Raises:
            NotFound, Refused: as `plan`.
            Conflicting: its task does not run, so its rules are not to be at X.
            Unavailable: Kafka has not confirmed the request.
        """
        connector = self._with_rules(name)
        if objection := self._objection(connector):
            raise Conflicting(objection)
        await self._look(name)
        self._applied_at = time.monotonic()

    def _with_rules(self, name: str) -> Connector:
        connector = self._configs.get(name)
        if connector is None:
            raise sentences.no_connector(name)
        terms = self._terms(connector)
        if not terms.known:
            where = {shared.worker_id for number in range(connector.tasks) if (shared := self._status(name, number))}
            others = f": ask the worker {' or '.join(sorted(where))}" if where else ""
            raise Conflicting(f"This worker cannot read the configuration of {name}{others}.")
        if terms.stream != FILTERED:
            raise Refused(f"{name} has stream={terms.stream}, which has no rules: only stream={FILTERED} has.")
        return connector

    def _wanted(self, connector: Connector) -> dict[str, str]:
        """Return the values that X shall hold for *connector*, with their labels: none while it does not run."""
        if connector.target is not TargetState.RUNNING:
            return {}
        return {value: label for label, value in self._terms(connector).rules.items()}

    def _objection(self, connector: Connector) -> str | None:
        name = connector.name
        if connector.target is not TargetState.RUNNING:
            return (
                f"{name} is {connector.target}, so X holds no rule of it, and nothing is paid for: its rules are put in"
                " force when it is resumed."
            )
        shared = self._status(name, 0)
        if shared is None or shared.status.state is State.UNASSIGNED:
            return f"No worker runs the task of {name} yet: its rules are put in force before it connects."
        if shared.status.state is State.FAILED:
            return f"The task of {name} has FAILED: restart it, which puts its rules in force before it connects."
        return None

    def _status(self, name: str, number: int) -> Any:
        return self._statuses.of(TaskId(name, number))

    async def _rules_at_x(self, connector: Connector) -> _Seen:
        begun = time.monotonic()
        try:
            app = self._app(connector)
            async with self._asking.setdefault(app, asyncio.Lock()):  # X counts the requests of all who look
                failed_at, why = self._failed.get(app, (-math.inf, ""))
                if failed_at >= begun:
                    raise Unavailable(why)
                seen = self._seen.get(app)
                if seen is None or not self._fresh(seen):
                    seen = await self._asked(connector, app, seen)
                _keep(self._seen, app, seen)
                return seen
        except ConfigError as error:
            raise Conflicting(f"This worker cannot use the configuration of {connector.name}: {error}") from None

    def _fresh(self, seen: _Seen) -> bool:
        now = time.monotonic()
        return now - seen.asked_at < (AGAIN_SECS if now - self._applied_at < APPLIED_SECS else FRESH_SECS)

    async def _asked(self, connector: Connector, app: Hashable, before: _Seen | None) -> _Seen:
        """Ask X; who waits for the same meanwhile is told of a failure without another request."""
        try:
            return await self._answer(connector, before)
        except Unavailable as failure:
            _keep(self._failed, app, (time.monotonic(), str(failure)))
            raise

    async def _answer(self, connector: Connector, before: _Seen | None) -> _Seen:
        try:
            async with asyncio.timeout(ANSWER_SECS):
                rules = await self._held(connector)
        except RateLimited as error:
            if before is None or time.time() - before.told_at >= KEPT_SECS:
                raise Unavailable(f"X does not tell its rules: {error}") from None
            return replace(before, asked_at=time.monotonic())
        except ConfigError:
            raise
        except ConnectorError as error:
            raise Unavailable(f"X does not tell its rules: {error}") from None
        except TimeoutError:
            raise Unavailable(f"X has not told its rules within {ANSWER_SECS:g} s: ask again.") from None
        return _Seen(rules, time.monotonic(), time.time())


def _keep(kept: dict[Hashable, _K], app: Hashable, new: _K) -> None:
    """Put *new* at the end of *kept*, and forget the app that was not asked for longest if there are too many."""
    kept.pop(app, None)
    kept[app] = new
    if len(kept) > APPS_MAX:
        del kept[next(iter(kept))]


def _fields(plan: Plan, target: TargetState) -> dict[str, Any]:
    """Return *plan* as a JSON object of bounded size: of each kind how many there are, and the first ones."""
    fields = plan.fields()
    kinds = ("add", "delete", "kept", "held_elsewhere")
    return {
        "connector": plan.name,
        "state": target.value,
        **{kind: fields[kind][:SHOWN_MAX] for kind in kinds},
        "counts": {
            **{kind: len(fields[kind]) for kind in kinds},
            "unchanged": len(plan.unchanged),
            "others": plan.others,
        },
        "objection": plan.objection,
    }
