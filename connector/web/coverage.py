"""
/coverage: shows gaps, and takes requests to retry or accept them.

    GET  /coverage   {"connectors": [{"name", "covered_from", "covered_to", "gaps": [...], "repaired": [...]}]}
    POST /coverage   {"connector": "posts", "action": "retry" | "accept", "from": "<from of a gap>" | "all"}
"""

import time
from collections.abc import Iterator
from typing import Any

import faust
import orjson
from faust.web import Request, Response, View

from connector.cluster.coverage import known_gaps
from connector.cluster.overview import Overview
from connector.cluster.requests import Action, GapRequest
from connector.errors import DeliveryFailed
from connector.records.snowflake import from_iso

ALL = "all"


def register(app: faust.App, overview: Overview) -> None:
    """Add the views to *app*."""

    @app.page("/coverage", name="coverage")
    class Coverage(View):
        async def get(self, request: Request) -> Response:
            """Return the gaps that are open, under repair or lost, and the last gaps that were closed."""
            return self.json(overview.coverage())

        async def post(self, request: Request) -> Response:
            """Ask the group to retry or accept gaps; 202 when Kafka has confirmed the requests."""
            try:
                wanted = list(requests_in(_json(await request.read()), overview.coverage()))
            except ValueError as error:
                return self.json({"error_code": 400, "message": str(error)}, status=400)
            try:
                for each in wanted:
                    await overview.requests.send(each)
            except DeliveryFailed as error:
                return self.json({"error_code": 503, "message": f"Kafka has not confirmed: {error}"}, status=503)
            return self.json({"asked": len(wanted)}, status=202)


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
