"""
/coverage: shows gaps, and takes requests to retry or accept them.

    GET  /coverage   {"connectors": [{"name", "covered_from", "covered_to", "gaps": [...], "repaired": [...]}]}
    POST /coverage   {"connector": "posts", "action": "retry" | "accept", "from": "<from of a gap>" | "all"}
"""

import time
from collections.abc import Iterator
from typing import Any, Literal, NotRequired, TypedDict

import orjson
from aiohttp.web import Request, Response

from connector.cluster.coverage import known_gaps
from connector.cluster.overview import Overview
from connector.cluster.refused import Refused, Unavailable
from connector.cluster.requests import Action, GapRequest
from connector.errors import DeliveryFailed
from connector.records.snowflake import from_iso
from connector.web.routes import answer, get, post

ALL = "all"

ShownGap = TypedDict(
    "ShownGap",
    {
        "from": str,
        "to": str,
        "reason": str,
        "state": str,
        "detail": str | None,
        "posts": int,
        "cost_usd": float,
        "way": NotRequired[str],
        "partition": NotRequired[str],
        "closed_at": NotRequired[str],
    },
)


class Covered(TypedDict):
    """What of a connector's time is delivered, and which gaps are in it; *error* says why that is not known."""

    name: str
    covered_from: str | None
    covered_to: str | None
    gaps: list[ShownGap]
    repaired: list[ShownGap]
    error: NotRequired[str]


class AllCovered(TypedDict):
    connectors: list[Covered]


class Asked(TypedDict):
    """For how many gaps the group was asked."""

    asked: int


AskOfGaps = TypedDict("AskOfGaps", {"connector": str, "action": Literal["retry", "accept"], "from": str})


class CoverageRoutes:
    """Routes of gaps."""

    def __init__(self, overview: Overview) -> None:
        self._overview = overview

    @get("/coverage", gives={200: AllCovered})
    async def show(self, request: Request) -> Response:
        """Return the gaps that are open, under repair or lost, and the last gaps that were closed."""
        return answer(self._overview.coverage())

    @post("/coverage", takes=AskOfGaps, gives={202: Asked}, refuses=(400, 503))
    async def ask(self, request: Request) -> Response:
        """Ask the group to retry or accept gaps; 202 when Kafka has confirmed the requests."""
        try:
            wanted = list(requests_in(_json(await request.read()), self._overview.coverage()))
        except ValueError as error:
            raise Refused(str(error)) from None
        try:
            for each in wanted:
                await self._overview.requests.send(each)
        except DeliveryFailed as error:
            raise Unavailable(f"Kafka has not confirmed: {error}") from error
        return answer({"asked": len(wanted)}, 202)


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except ValueError as error:
        raise ValueError('the body must be JSON: {"connector": "posts", "action": "retry", "from": "all"}') from error


def requests_in(body: Any, coverage: dict[str, Any]) -> Iterator[GapRequest]:
    """
    Yield the requests that *body* makes for the gaps in *coverage*, the answer of `GET /coverage`.

    Raises:
        ValueError: *body* is wrong, or names a connector or gap that does not exist; the message names the cure.
    """
    names = {each["name"]: each for each in coverage["connectors"]}
    if not isinstance(body, dict) or body.get("connector") not in list(names):
        raise ValueError(f'"connector" must be {" or ".join(names)}' if names else "This worker has no connector")
    if body.get("action") not in list(Action):
        raise ValueError('"action" must be "retry" or "accept"')
    gaps = known_gaps(names[body["connector"]]["gaps"])
    chosen = gaps if body.get("from") == ALL else [gap for gap in gaps if gap["from"] == body.get("from")]
    if not chosen and body.get("from") != ALL:
        begins = ", ".join(gap["from"] for gap in gaps)
        raise ValueError(f'"from" must be "all", or the begin of a gap: {begins}' if gaps else "There is no gap")
    for gap in chosen:
        yield GapRequest(
            connector=body["connector"],
            partition=gap.get("partition"),
            from_ms=from_iso(gap["from"]),
            action=Action(body["action"]),
            at_ms=int(time.time() * 1000),
        )
