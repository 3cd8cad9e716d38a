"""The `/control/` endpoints, with which a test or a demo steers a simulator in another process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import orjson

from connector.simulator.faults.schedule import TIMES, UnknownFault
from connector.simulator.http.wire import Request, Response
from connector.simulator.posts.generator import KINDS
from connector.simulator.posts.samples import UnknownSample
from connector.simulator.streams.compliance import POST_KINDS, USER_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from connector.simulator.faults.faults import Faults
    from connector.simulator.faults.gate import Gate
    from connector.simulator.meter import Meter
    from connector.simulator.posts.post import Post
    from connector.simulator.posts.store import PostStore
    from connector.simulator.rules.store import RuleStore
    from connector.simulator.settings import SimulatorSettings
    from connector.simulator.streams.emissions import ConnectionRecord, EmissionLog
    from connector.simulator.streams.feed import Feed
    from connector.simulator.streams.streams import Streams

JSON = (("content-type", "application/json"),)
NDJSON = (("content-type", "application/x-ndjson"),)


class BadControl(Exception):
    """The body or a parameter of a request to a control endpoint is wrong (400)."""


class Controlled(Protocol):
    """What the control endpoints need of the simulator."""

    settings: SimulatorSettings
    emissions: EmissionLog
    faults: Faults
    feed: Feed | None
    gate: Gate
    meter: Meter
    rules: RuleStore
    store: PostStore
    streams: Streams
    rate: float

    @property
    def url(self) -> str: ...

    @property
    def connections(self) -> Sequence[ConnectionRecord]: ...

    def clear_faults(self) -> None: ...

    def emit_one(self) -> Post: ...

    def emit_post(self, text: str, *, lang: str, author: str | None, kind: str | None) -> str: ...

    def emit_sample(self, name: str) -> str: ...

    def delete_post(self, post_id: str) -> None: ...

    def delete_user(self, name_or_id: str, *, kind: str) -> list[str]: ...

    def comply(self, kind: str, subject: str, more: Mapping[str, Any] | None) -> None: ...


class Control:
    """Answers the control endpoints; the docstring of the package lists them."""

    def __init__(self, simulator: Controlled) -> None:
        self._simulator = simulator
        self._routes: dict[tuple[str, str], Callable[[Request], Response]] = {
            ("GET", "/control/state"): self._state,
            ("GET", "/control/emissions"): self._emissions,
            ("GET", "/control/connections"): self._connections,
            ("GET", "/control/faults"): self._list_faults,
            ("POST", "/control/faults"): self._fault,
            ("DELETE", "/control/faults"): self._clear_faults,
            ("POST", "/control/rate"): self._rate,
            ("POST", "/control/post"): self._post,
            ("POST", "/control/emit"): self._emit,
            ("POST", "/control/delete"): self._delete,
            ("POST", "/control/compliance"): self._comply,
            ("GET", "/control/compliance"): self._complied,
        }

    def handle(self, request: Request) -> Response:
        route = self._routes.get((request.method, request.path))
        if route is None:
            return _json({"error": f"no control endpoint {request.method} {request.path}"}, status=404)
        try:
            return route(request)
        except (BadControl, UnknownFault, UnknownSample) as error:
            return _json({"error": str(error)}, status=400)

    def _state(self, _request: Request) -> Response:
        return _json(self.state())

    def state(self) -> dict[str, Any]:
        """Return counts, connections, money and rate."""
        sim = self._simulator
        meter = sim.meter
        return {
            "url": sim.url,
            "plan": sim.settings.plan,
            "rate": sim.rate,
            "rules": len(sim.rules),
            "generated": sim.streams.generated,
            "stored": len(sim.store),
            "emissions": {"next": sim.emissions.next_number, **sim.emissions.counts},
            "connections": {
                "live": [connection.record.to_json() for connection in sim.streams.live()],
                "total": len(sim.connections),
            },
            "meter": {
                "balance_usd": round(meter.balance_usd, 6),
                "spent_usd": round(meter.spent_usd, 6),
                "reads": meter.reads,
                "usage_cap": meter.usage_cap,
                "spend_cap_usd": meter.spend_cap_usd,
                "shortage": meter.shortage,
            },
            "faults": {
                "ran": list(sim.faults.ran),
                "armed": [armed.name for armed in sim.gate.armed if not armed.spent],
                "absent": sorted(sim.gate.absent),
            },
            "feed": sim.feed.state() if sim.feed is not None else None,
        }

    def _emissions(self, request: Request) -> Response:
        since = request.param("since") or "0"
        if not since.isdecimal():
            raise BadControl("since is a number")
        entries = self._simulator.emissions.since(int(since))
        body = b"".join(orjson.dumps(entry.to_json()) + b"\n" for entry in entries)
        return Response(status=200, body=body, headers=NDJSON)

    def _connections(self, _request: Request) -> Response:
        body = b"".join(orjson.dumps(record.to_json()) + b"\n" for record in self._simulator.connections)
        return Response(status=200, body=body, headers=NDJSON)

    def _list_faults(self, _request: Request) -> Response:
        arguments = {
            name: sorted(fault.arguments - TIMES - {"fault"}) for name, fault in self._simulator.faults.table.items()
        }
        return _json({"faults": arguments})

    def _fault(self, request: Request) -> Response:
        body = _body(request)
        try:
            self._simulator.faults.run(body)
        except (TypeError, ValueError) as error:
            raise BadControl(f"fault {body['fault']}: {error}") from None
        return _json({"ran": body["fault"]})

    def _clear_faults(self, _request: Request) -> Response:
        self._simulator.clear_faults()
        return _json({"cleared": True})

    def _rate(self, request: Request) -> Response:
        rate = _body(request).get("rate")
        if not isinstance(rate, int | float) or isinstance(rate, bool) or rate < 0:
            raise BadControl('the body is {"rate": posts per second}')
        self._simulator.rate = float(rate)
        return _json({"rate": self._simulator.rate})

    def _post(self, request: Request) -> Response:
        body = _body(request)
        if body.keys() == {"sample"}:
            return _json({"id": self._simulator.emit_sample(str(body["sample"]))})
        text = body.get("text")
        if not isinstance(text, str) or body.keys() - {"text", "lang", "author", "kind"}:
            raise BadControl('the body is {"text": ..., "lang"?, "author"?, "kind"?} or {"sample": kind}')
        kind = body.get("kind")
        if kind is not None and kind not in KINDS:
            raise BadControl(f"kind is one of {', '.join(KINDS)}")
        post = self._simulator.emit_post(text, lang=str(body.get("lang", "en")), author=body.get("author"), kind=kind)
        return _json({"id": post})

    def _emit(self, request: Request) -> Response:
        count = _body(request).get("count", 1)
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise BadControl('the body is {"count": how many posts}')
        return _json({"ids": [str(self._simulator.emit_one().id) for _ in range(count)]})

    def _delete(self, request: Request) -> Response:
        body = _body(request)
        if body.keys() == {"post"} and str(body["post"]).isdecimal():
            self._simulator.delete_post(str(body["post"]))
            return _json({"ids": [str(body["post"])]})
        if "user" in body and not body.keys() - {"user", "kind"}:
            kind = str(body.get("kind", "user_delete"))
            if kind not in USER_KINDS:
                raise BadControl(f"kind is one of {', '.join(sorted(USER_KINDS))}")
            return _json({"ids": self._simulator.delete_user(str(body["user"]), kind=kind)})
        raise BadControl('the body is {"post": id} or {"user": name or id, "kind"?}')

    def _comply(self, request: Request) -> Response:
        body = _body(request)
        more = body.get("more", {})
        known = body.keys() <= {"kind", "subject", "more"} and {"kind", "subject"} <= body.keys()
        if not known or not isinstance(more, dict):
            raise BadControl('the body is {"kind": ..., "subject": id of the post, name or id of the user, "more"?}')
        subject = str(body["subject"])
        if body["kind"] in POST_KINDS and not subject.isdecimal():
            raise BadControl("the subject is the id of a post")
        try:
            self._simulator.comply(str(body["kind"]), subject, more)
        except ValueError as error:
            raise BadControl(str(error)) from None
        return _json({"told": body["kind"]})

    def _complied(self, request: Request) -> Response:
        since = request.param("since") or "0"
        if not since.isdecimal():
            raise BadControl("since is a number")
        events = self._simulator.streams.compliance.since(int(since))
        body = b"".join(orjson.dumps(event.to_json()) + b"\n" for event in events)
        return Response(status=200, body=body, headers=NDJSON)


def _body(request: Request) -> dict[str, Any]:
    try:
        body = orjson.loads(request.body or b"{}")
    except orjson.JSONDecodeError:
        raise BadControl("the body is not JSON") from None
    if not isinstance(body, dict):
        raise BadControl("the body is not an object")
    return body


def _json(body: dict[str, Any], *, status: int = 200) -> Response:
    return Response(status=status, body=orjson.dumps(body), headers=JSON)
