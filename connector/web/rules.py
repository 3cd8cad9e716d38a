"""
/rules: the rules at X beside those that a connector wants; the owner of its task is asked to put them in force.

    GET  /rules?connector=posts   {"add": [...], "delete": [...], "counts": {...}, "objection", "told_at", ...}
    POST /rules                   {"connector": "posts", "action": "apply"}
"""

from typing import Any, Literal, Protocol, TypedDict

import orjson
from aiohttp.web import Request, Response

from connector.cluster.refused import Refused
from connector.web.routes import Query, answer, get, post

NO_STORE = {"Cache-Control": "no-store"}
CONNECTOR = Query(name="connector", doc="Whose rules", schema={"type": "string", "minLength": 1}, required=True)


class NewRule(TypedDict):
    value: str
    tag: str


class HeldRule(TypedDict):
    id: str
    value: str
    tag: str


class KeptRule(TypedDict):
    """A rule that X holds under the tag of another connector, which wants it, too."""

    id: str
    value: str
    tag: str
    wanted_by: str


class RuleCounts(TypedDict):
    """How many rules of each kind there are; *others* are not of this connector, and stay as they are."""

    add: int
    delete: int
    kept: int
    held_elsewhere: int
    unchanged: int
    others: int


class RulePlan(TypedDict):
    """
    What the owner of the task would change at X, the first rules of each kind.

    *held_elsewhere* are wanted values that X holds under a tag of no connector; *objection* says why nothing is changed
    now.  X told its rules at *told_at*: some seconds ago, or minutes if it counts too many requests now.
    """

    connector: str
    state: str
    add: list[NewRule]
    delete: list[HeldRule]
    kept: list[KeptRule]
    held_elsewhere: list[str]
    counts: RuleCounts
    objection: str | None
    told_at: str


class RulesAsked(TypedDict):
    """Whose owner was asked to look at its rules."""

    asked: str


class AskOfRules(TypedDict):
    connector: str
    action: Literal["apply"]


class Rules(Protocol):
    """The rules of the group's connectors; `cluster.rules.ConnectorRules`."""

    async def plan(self, name: str) -> dict[str, Any]:
        """Return what would change at X for the connector *name*."""

    async def apply(self, name: str) -> None:
        """Ask the owner of the task to make X hold the rules of the connector *name*."""


class RuleRoutes:
    """Routes of rules at X."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    @get("/rules", query=(CONNECTOR,), gives={200: RulePlan}, refuses=(400, 404, 409, 503))
    async def plan(self, request: Request) -> Response:
        """Compare the rules that X holds with those that a connector wants; X is asked."""
        name = request.query.get("connector")
        if not name:
            raise Refused("Say whose rules: /rules?connector=NAME.")
        return answer(await self._rules.plan(name), headers=NO_STORE)

    @post("/rules", takes=AskOfRules, gives={202: RulesAsked}, refuses=(400, 404, 409, 503))
    async def ask(self, request: Request) -> Response:
        """Ask the worker that runs a connector's task to make X hold its rules now; 202 when Kafka has the request."""
        name = _name_in(await request.read())
        await self._rules.apply(name)
        return answer({"asked": name}, 202)


def _name_in(body: bytes) -> str:
    try:
        asked = orjson.loads(body)
    except ValueError:
        asked = None
    if not isinstance(asked, dict) or asked.get("action") != "apply" or not isinstance(asked.get("connector"), str):
        raise Refused('The body must be JSON: {"connector": "posts", "action": "apply"}')
    return str(asked["connector"])
