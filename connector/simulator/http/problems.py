"""The errors of the API: a table from the name of a problem to its status, body and headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

HeaderSet = Literal["rest", "401", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One error; its body has placeholders, such as `{host}`, that `fill` replaces."""

    status: int
    body: Mapping[str, Any] | None
    headers: HeaderSet = "rest"
    rate_headers: bool = True


class Refused(Exception):
    """The request is answered with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem.status))
        self.problem = problem


def _type(suffix: str) -> str:
    return f"https://{{host}}/2/problems/{suffix}"


INVALID_REQUEST: Mapping[str, Any] = {
    "title": "Invalid Request",
    "detail": "One or more parameters to your request was invalid.",
    "type": _type("invalid-request"),
}


def invalid_request(*errors: Mapping[str, Any]) -> Problem:
    """Return an E400 with the given entries of `errors`."""
    return Problem(status=400, body={"errors": list(errors), **INVALID_REQUEST})


def invalid_parameter(name: str, values: list[str], message: str) -> Problem:
    """Return an E400 about one query parameter."""
    return invalid_request({"parameters": {name: values}, "message": message})


def bad_value(name: str, value: str, reason: str) -> Refused:
    """Return the refusal of a query parameter whose value is wrong; *reason* ends X's sentence."""
    return Refused(invalid_parameter(name, [value], f"The `{name}` query parameter value [{value}] {reason}"))


NOT_FOUND = Problem(status=404, body=None, headers="none", rate_headers=False)

SPEND_CAP_RESET = "{reset_date}"

PROBLEMS: Mapping[str, Problem] = {
    "E400": invalid_parameter(
        "max_results",
        ["5"],
        "The `max_results` query parameter value [5] is not between 10 and 100",
    ),
    "E401": Problem(
        status=401,
        body={
            "title": "Unauthorized",
            "type": "about:blank",
            "status": 401,
            "detail": "Unauthorized",
        },
        headers="401",
        rate_headers=False,
    ),
    "E402": Problem(
        status=402,
        body={
            "type": _type("credits"),
            "title": "CreditsDepleted",
            "detail": "Your enrolled account [{account}] does not have any credits to fulfill this request.",
        },
    ),
    "E403a": Problem(
        status=403,
        body={
            "title": "SpendCapReached",
            "detail": "Your enrolled account [{account}] has reached its billing"
            " cycle spend cap. API requests will be blocked until the next cycle"
            " begins on {reset_date}.",
            "reset_date": "{reset_date}",
            "type": _type("credits"),
        },
    ),
    "E403b": Problem(
        status=403,
        body={
            "client_id": "{client}",
            "detail": "When authenticating requests to the Twitter API v2 endpoints,"
            " you must use keys and tokens from a Twitter developer App that is"
            " attached to a Project. You can create a project via the developer"
            " portal.",
            "registration_url": "https://developer.twitter.com/en/docs/projects/overview",
            "title": "Client Forbidden",
            "required_enrollment": "Appropriate Level of API Access",
            "reason": "client-not-enrolled",
            "type": _type("client-forbidden"),
        },
    ),
    "E403c": Problem(
        status=403,
        body={
            "detail": "Your account is not permitted to access this feature.",
            "type": "about:blank",
            "title": "Forbidden",
            "status": 403,
        },
    ),
    "E403d": Problem(
        status=403,
        body={
            "title": "Unsupported Authentication",
            "detail": "Authenticating with OAuth 2.0 Application-Only is forbidden"
            " for this endpoint. Supported authentication types are [OAuth 1.0a User"
            " Context, OAuth 2.0 User Context].",
            "type": _type("unsupported-authentication"),
            "status": 403,
        },
    ),
    "E404": NOT_FOUND,
    "E409": Problem(
        status=409,
        body={
            "title": "ConnectionException",
            "detail": "You must define rules using the POST"
            " /2/tweets/search/stream/rules endpoint before connecting to filtered"
            " stream.",
            "connection_issue": "RuleConfigurationIssue",
            "type": _type("streaming-connection"),
        },
    ),
    "E429a": Problem(
        status=429,
        body={
            "title": "ConnectionException",
            "detail": "This stream is currently at the maximum allowed connection limit.",
            "connection_issue": "TooManyConnections",
            "type": _type("streaming-connection"),
        },
    ),
    "E429b": Problem(
        status=429,
        body={
            "title": "Too Many Requests",
            "detail": "Too Many Requests",
            "type": "about:blank",
            "status": 429,
        },
    ),
    "E429c": Problem(
        status=429,
        body={
            "account_id": 1234567890,
            "product_name": "standard-basic",
            "title": "UsageCapExceeded",
            "period": "Monthly",
            "scope": "Product",
            "detail": "Usage cap exceeded: Monthly product cap",
            "type": _type("usage-capped"),
        },
    ),
    "E429d": Problem(
        status=429,
        body={"errors": [{"code": 88, "message": "Rate limit exceeded"}]},
    ),
    "E500": Problem(
        status=500,
        body={
            "title": "Internal Server Error",
            "detail": "Something is broken. This is usually a temporary error.",
            "type": "about:blank",
            "status": 500,
        },
        headers="none",
        rate_headers=False,
    ),
    "E502": Problem(status=502, body=None, headers="none", rate_headers=False),
    "E503a": Problem(
        status=503,
        body={
            "title": "ConnectionException",
            "detail": "Your subscription change is currently being provisioned, please try again in a minute.",
            "connection_issue": "ProvisioningSubscription",
            "type": _type("streaming-connection"),
        },
        rate_headers=False,
    ),
    "E503b": Problem(
        status=503,
        body={
            "title": "Service Unavailable",
            "detail": "Service Unavailable",
            "type": "about:blank",
            "status": 503,
        },
        headers="none",
        rate_headers=False,
    ),
    "E504": Problem(status=504, body=None, headers="none", rate_headers=False),
}


def fill(value: Any, names: Mapping[str, str]) -> Any:
    """Return a body with its placeholders replaced."""
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace(f"{{{name}}}", text)
        return value
    if isinstance(value, Mapping):
        return {key: fill(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [fill(inner, names) for inner in value]
    return value


def encode(problem: Problem, names: Mapping[str, str]) -> bytes:
    """Return the bytes of the body; none where X sends no body."""
    return b"" if problem.body is None else orjson.dumps(fill(problem.body, names))


def disconnect_line(spelling: str, names: Mapping[str, str]) -> bytes:
    """
    Return the error that X writes into a stream before a close.

    X is known to write `upstream` and `operational`.  Any other *spelling* becomes the `disconnect_type` of an
    error like `operational`.
    """
    if spelling == "upstream":
        error = {
            "title": "operational-disconnect",
            "disconnect_type": "UpstreamOperationalDisconnect",
            "detail": "This stream has been disconnected upstream for operational reasons.",
            "type": "https://api.x.com/2/problems/operational-disconnect",
        }
    else:
        kind = "OperationalDisconnect" if spelling == "operational" else spelling
        error = {
            "title": "operational-disconnect",
            "disconnect_type": kind,
            "detail": "This stream has been disconnected for operational reasons.",
            "type": _type("operational-disconnect"),
        }
    return orjson.dumps({"errors": [fill(error, names)]})
