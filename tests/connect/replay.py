"""
Replays the requests that were recorded against real Kafka Connect workers, and compares the answers.

The recorded texts in `goldens/` come from Apache Kafka (The Apache Software Foundation), Apache License 2.0.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path

from yarl import URL

GOLDENS = Path(__file__).parent / "goldens"
WAIT_SECS = 30.0

VOLATILE = frozenset(
    {
        *("last_modified", "commit", "kafka_cluster_id", "version", "worker_id", "trace"),
        *("documentation", "display_name", "width", "default_value", "recommended_values"),
    }
)
"""Fields of which only the type is compared: what differs from worker to worker, and what belongs to our classes."""

OURS = (".version", ".converter", "errors.retry.timeout", "errors.retry.delay.max.ms")
"""How options end whose default is the worker's own, or the class's."""


@dataclass(frozen=True)
class Recorded:
    """A request, and what is expected of its answer; *why* the body is something else than Connect's, or empty."""

    name: str
    request: dict
    status: int
    body: object
    why: str


def _read(name):
    return {each["name"]: each for each in json.loads((GOLDENS / name).read_text())}


def recorded():
    """All requests in their order, with the answers that are expected."""
    answers, deviations = _read("responses-distributed-4.3.0.json"), _read("deviations.json")
    return [
        Recorded(
            name=name,
            request=request,
            status=deviations.get(name, answers[name])["status"],
            body=answers[name]["body"],
            why=deviations.get(name, {}).get("why", ""),
        )
        for name, request in _read("requests.json").items()
    ]


def reached(status, wanted):
    return wanted.get("connector") in (None, status["connector"]["state"]) and wanted.get("tasks") in (
        None,
        [task["state"] for task in status["tasks"]],
    )


class Replayer:
    """Sends recorded requests to the worker at *base* through *session*; *pace* is the share of each pause to take."""

    def __init__(self, session, base, *, pace=1.0):
        self._session, self._base, self._pace = session, str(base).rstrip("/"), pace

    async def ask(self, request):
        """Take the steps before a request, and send it; return status, headers and body, which is JSON if it can be."""
        for step in request.get("before", []):
            if "sleep_s" in step:
                await asyncio.sleep(step["sleep_s"] * self._pace)
            else:
                await self._wait_for(step["wait_for"])
        data = request.get("raw_body", json.dumps(request["body"]) if "body" in request else None)
        return await self._send(request["method"], request["path"], headers=request["headers"], data=data)

    async def _send(self, method, path, *, headers=None, data=None):
        url = URL(self._base + path, encoded=True)
        async with self._session.request(
            method, url, headers=headers, data=data, skip_auto_headers=("Content-Type",)
        ) as response:
            text = await response.text()
        try:
            return response.status, response.headers, json.loads(text)
        except ValueError:
            return response.status, response.headers, text

    async def _wait_for(self, wanted):
        end = time.monotonic() + WAIT_SECS
        while time.monotonic() < end:
            status, _, body = await self._send("GET", f"/connectors/{wanted['name']}/status")
            if status == 200 and reached(body, wanted):
                return
            await asyncio.sleep(0.25)


def differences(expected, actual, path="$"):
    """Yield where *actual* lacks a key of *expected*, or has another type or value; more keys are fine."""
    match expected, actual:
        case dict(), dict():
            yield from _in_object(expected, actual, path)
        case list(), list() if expected and _name(expected[0]):
            found = {_name(each): each for each in actual}
            for each in expected:
                yield from differences(each, found.get(_name(each)), f"{path}[{_name(each)}]")
        case list(), list():
            if len(expected) != len(actual):
                yield f"{path} has {len(actual)} entries, not {len(expected)}"
            for index, (one, other) in enumerate(zip(expected, actual, strict=False)):
                yield from differences(one, other, f"{path}[{index}]")
        case _ if expected != actual:
            yield f"{path} is {actual!r}, not {expected!r}"


def _in_object(expected, actual, path):
    for key, value in expected.items():
        if key not in actual:
            yield f"{path}.{key} is missing"
        elif key in VOLATILE or (key == "value" and str(expected.get("name")).endswith(OURS)):
            yield from _of_type(value, actual[key], f"{path}.{key}")
        else:
            yield from differences(value, actual[key], f"{path}.{key}")


def _name(entry):
    """The name of an option in a list of definitions; None in other lists."""
    match entry:
        case {"definition": {"name": name}} | {"name": name, "type": _}:
            return name
    return None


def _of_type(expected, actual, path):
    kinds = {type(expected), type(actual)} - {type(None)}
    if len(kinds) > 1:
        yield f"{path} is {actual!r}, not like {expected!r}"
