"""
The rules at X beside those that a connector wants, and the request to put them in force.

Any worker asks X which rules it holds; the worker that runs the task changes them (`task/rule_keeper`), so nobody else
does.  It looks by itself before each connect and after each change of a configuration; here it is asked to look at
once, for rules that somebody has deleted at X by hand, or that an error has left there.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from connector.cluster import sentences
from connector.cluster.configs import Configs, Connector, TargetState
from connector.cluster.refused import Conflicting, Refused, Unavailable
from connector.cluster.statuses import Statuses
from connector.cluster.view.terms import Terms
from connector.errors import ConfigError, ConnectorError
from connector.records.record import TaskId
from connector.sources.rest.plan import Plan, planned_beside
from connector.sources.rest.rules import Rule
from connector.task.status import State

SHOWN_MAX = 200
"""The most rules of a kind that are shown; all are counted."""

FRESH_SECS = 2.0
"""For so long an answer of X is shown again: X allows 450 such requests in 15 minutes, and tasks need some, too."""

ANSWER_SECS = 25.0
"""The longest time until X has told all its rules, in seconds."""

FILTERED = "filtered"


@dataclass(frozen=True, slots=True)
class _Seen:
    rules: Sequence[Rule]
    at: float


class ConnectorRules:
    """
    The rules of the group's connectors.

    *held* asks X for the rules of a connector's app, *terms* reads a configuration, *look* asks the owner to look.
    """

    def __init__(
        self,
        configs: Configs,
        statuses: Statuses,
        *,
        held: Callable[[Connector], Awaitable[Sequence[Rule]]],
        terms: Callable[[Connector], Terms],
        look: Callable[[str], Awaitable[None]],
    ) -> None:
        self._configs, self._statuses = configs, statuses
        self._held, self._terms, self._look = held, terms, look
        self._seen: dict[str, _Seen] = {}
        self._asking = asyncio.Lock()

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
        held = await self._rules_at_x(connector)
        names = {each.name: each for each in self._configs.all_at(connector.slots[0])} if connector.slots else {}
        names[name] = connector
        wanted = {each.name: self._wanted(each) for each in names.values()}
        return _fields(planned_beside(name, wanted, held, self._objection(connector)), connector.target)

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
        self._seen.pop(name, None)

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

    async def _rules_at_x(self, connector: Connector) -> Sequence[Rule]:
        async with self._asking:  # one at a time: X counts the requests of all
            seen = self._seen.get(connector.name)
            if seen is not None and time.monotonic() - seen.at < FRESH_SECS:
                return seen.rules
            self._seen = {name: each for name, each in self._seen.items() if self._configs.get(name) is not None}
            try:
                async with asyncio.timeout(ANSWER_SECS):
                    rules = await self._held(connector)
            except ConfigError as error:
                raise Conflicting(f"This worker cannot use the configuration of {connector.name}: {error}") from None
            except ConnectorError as error:
                raise Unavailable(f"X does not tell its rules: {error}") from None
            except TimeoutError:
                raise Unavailable(f"X has not told its rules within {ANSWER_SECS:g} s: ask again.") from None
            self._seen[connector.name] = _Seen(rules, time.monotonic())
            return rules


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
