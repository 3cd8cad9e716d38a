"""Whole answers with the headers that X sends."""

from __future__ import annotations

import random
import string
from typing import TYPE_CHECKING, Any

import orjson

from connector.simulator.http.problems import Problem, encode, fill
from connector.simulator.http.wire import Headers, Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connector.simulator.http.limits import Allowance
    from connector.simulator.settings import SimulatorSettings

API_VERSION = "2.163"
JSON = "application/json; charset=utf-8"


def rate_headers(allowance: Allowance | None) -> Headers:
    """Return the three headers of a rate window."""
    if allowance is None:
        return ()
    return (
        ("x-rate-limit-limit", str(allowance.limit)),
        ("x-rate-limit-remaining", str(allowance.remaining)),
        ("x-rate-limit-reset", str(allowance.reset)),
    )


class Answers:
    """Makes responses and heads of streams; the seed decides the ids in headers."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._random = random.Random(settings.seed)

    def names(self, reset_date: str = "") -> Mapping[str, str]:
        """Return the values of the placeholders in the bodies of problems."""
        return {
            "host": self._settings.problem_host,
            "account": self._settings.account_id,
            "client": self._settings.client_id,
            "reset_date": reset_date,
        }

    def json(
        self, body: Mapping[str, Any] | bytes, *, status: int = 200, allowance: Allowance | None = None
    ) -> Response:
        """Return a successful answer; `{host}` in the body is replaced."""
        raw = body if isinstance(body, bytes) else orjson.dumps(fill(body, {"host": self._settings.problem_host}))
        return Response(status=status, body=raw, headers=self._rest(JSON) + rate_headers(allowance))

    def problem(self, problem: Problem, *, allowance: Allowance | None = None, reset_date: str = "") -> Response:
        """Return an error, with the headers that X sends with this error."""
        body = encode(problem, self.names(reset_date))
        content_type = self._settings.error_content_type
        if problem.headers == "none":
            headers: Headers = (("content-type", content_type),) if body else ()
            return Response(status=problem.status, body=body, headers=headers)
        if problem.headers == "401":
            headers = (
                ("content-type", content_type),
                ("x-response-time", self._milliseconds()),
                ("x-served-by", "t4_a"),
                ("x-transaction-id", self._hex()),
            )
            return Response(status=problem.status, body=body, headers=headers)
        rate = rate_headers(allowance) if problem.rate_headers else ()
        return Response(status=problem.status, body=body, headers=self._rest(content_type) + rate)

    def stream_head(self, allowance: Allowance | None, *, gzip: bool, date: str) -> Headers:
        """Return the headers of a stream: chunked, without a length."""
        return (
            ("cache-control", "no-cache, no-store, max-age=0"),
            ("date", date),
            ("server", "tsa_a"),
            ("set-cookie", f"guest_id={self._hex()}; Max-Age=63072000; Domain=.x.com; Secure; SameSite=None"),
            ("strict-transport-security", "max-age=631138519"),
            ("transfer-encoding", "chunked"),
            ("content-type", JSON),
            *((("content-encoding", "gzip"),) if gzip else ()),
            *rate_headers(allowance),
        )

    def _rest(self, content_type: str) -> Headers:
        return (
            ("api-version", API_VERSION),
            ("cache-control", "no-cache, no-store, max-age=0"),
            ("content-disposition", "attachment; filename=json.json"),
            ("content-type", content_type),
            ("perf", "7626143928"),
            ("server", "tsa_b"),
            ("strict-transport-security", "max-age=631138519"),
            ("x-access-level", "read"),
            ("x-connection-hash", self._hex(64)),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "SAMEORIGIN"),
            ("x-response-time", self._milliseconds()),
            ("x-transaction-id", self._hex()),
            ("x-xss-protection", "0"),
        )

    def _hex(self, digits: int = 16) -> str:
        return "".join(self._random.choices(string.hexdigits[:16], k=digits))

    def _milliseconds(self) -> str:
        return str(self._random.randint(8, 180))
