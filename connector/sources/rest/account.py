"""
What X tells about this account: connections, rule counts, usage.

The connector works without these endpoints.  If an API host lacks or refuses one, the method returns None and calls
`unavailable`.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from connector.errors import AnswerTooLong, InvalidRequest, NotAuthorized, NotFound, TokenRejected
from connector.records.snowflake import from_iso
from connector.sources.rest.api import Api

CONNECTIONS_PATH = "/2/connections"
RULE_COUNTS_PATH = "/2/tweets/search/stream/rules/counts"
USAGE_PATH = "/2/usage/tweets"

MAX_CONNECTIONS = 100
"""The most connections on one page, and in one DELETE (OpenAPI 2.167: 1-100)."""

MAX_PAGES = 100
"""The most pages that are read: ten thousand connections, while an account has a few dozen."""

MAX_ID_CHARACTERS = 100
"""The longest id that is accepted; X's ids are UUIDs.  Ids are stored in the task's status, and sent back to X."""

SAME_CONNECT_SECS = 2.0
"""
How far `connected_at` and the `Date` header of one connect may differ.

X writes both in whole seconds, and not at the same moment.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldConnection:
    """A connection that X counts as open, by a client at *address*; *connected_at* in UNIX seconds of X's clock."""

    id: str
    endpoint: str
    connected_at: float
    address: str = ""
    """Empty unless X was asked for it, and tells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCounts:
    """How many rules X holds, and how many it allows (cap); None for a number that X does not tell."""

    app_rules: int | None
    app_cap: int | None
    project_rules: int | None
    project_cap: int | None

    @property
    def room(self) -> int | None:
        """How many more rules X accepts; None if X does not tell."""
        rooms = [
            cap - held
            for held, cap in ((self.app_rules, self.app_cap), (self.project_rules, self.project_cap))
            if held is not None and cap is not None
        ]
        return max(min(rooms), 0) if rooms else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Posts read in the current cycle, the cap, and the days until the next cycle; None for what X does not tell."""

    posts: int | None
    cap: int | None
    days_left: int | None


class Account:
    """
    What X tells about the account, by REST calls.  Executor threads.

    A method returns None if X lacks or refuses the endpoint (400, 403, 404) or the answer is too long; *unavailable* is
    then called with the feature and the reason.  Every other failure is raised as a `ConnectorError`.
    """

    def __init__(self, api: Api, unavailable: Callable[[str, str], None] = lambda _feature, _reason: None) -> None:
        self._api = api
        self._unavailable = unavailable

    def connections(self, endpoint: str, *, addresses: bool = False) -> list[HeldConnection] | None:
        """
        Return the open connections of *endpoint*, such as `filtered_stream` (docs.x.com: GET /2/connections).

        With *addresses* X is asked from where each was opened.
        """
        held: list[HeldConnection] = []
        page: dict[str, Any] = {
            "status": "active",
            "endpoints": endpoint,
            "max_results": MAX_CONNECTIONS,
            "connection.fields": f"{'client_ip,' if addresses else ''}connected_at,endpoint_name,id",
        }
        for _ in range(MAX_PAGES):
            answer = self._optional("connections", lambda: self._api.get(CONNECTIONS_PATH, page))
            if answer is None:
                return None
            held += filter(None, map(_connection, _entries(answer)))
            token = _next_token(answer)
            if not token:
                return [connection for connection in held if connection.endpoint == endpoint]
            page["pagination_token"] = token
        self._unavailable("connections", f"X lists connections without end: {MAX_PAGES} pages were read")
        return None

    def end(self, ids: Collection[str]) -> int | None:
        """End the connections *ids*; return how many X ended."""
        ended = 0
        ordered = sorted(ids)
        for start in range(0, len(ordered), MAX_CONNECTIONS):
            batch = ordered[start : start + MAX_CONNECTIONS]
            answer = self._optional("connections", lambda: self._api.delete(CONNECTIONS_PATH, {"uuids": batch}))  # noqa: B023 - called at once
            if answer is None:
                return None
            ended += _number(_object(answer.get("data")).get("successful_kills")) or 0
        return ended

    def rule_counts(self) -> RuleCounts | None:
        """Return how many rules X holds and allows; X writes the numbers as strings since OpenAPI 2.167."""
        answer = self._optional("rules/counts", lambda: self._api.get(RULE_COUNTS_PATH))
        if answer is None:
            return None
        data = _object(answer.get("data"))
        return RuleCounts(
            app_rules=_number(_object(data.get("client_app_rules_count")).get("rule_count")),
            app_cap=_number(data.get("cap_per_client_app")),
            project_rules=_number(data.get("project_rules_count")),
            project_cap=_number(data.get("cap_per_project")),
        )

    def usage(self) -> Usage | None:
        """Return what the project has read in this cycle (docs.x.com: GET /2/usage/tweets)."""
        answer = self._optional("usage", lambda: self._api.get(USAGE_PATH))
        if answer is None:
            return None
        data = _object(answer.get("data"))
        return Usage(
            posts=_number(data.get("project_usage")),
            cap=_number(data.get("project_cap")),
            days_left=_number(data.get("cap_reset_day")),
        )

    def _optional(self, feature: str, call: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        try:
            return call()
        except TokenRejected:
            raise
        except (NotFound, NotAuthorized, InvalidRequest, AnswerTooLong) as error:
            self._unavailable(feature, str(error))
            return None


def find_own(held: Sequence[HeldConnection], at: float) -> str | None:
    """Return the id of the connection opened at *at* (UNIX seconds of X's clock); None if there is none, or several."""
    near = [connection.id for connection in held if abs(connection.connected_at - at) <= SAME_CONNECT_SECS]
    return near[0] if len(near) == 1 else None


def _connection(entry: dict[str, Any]) -> HeldConnection | None:
    try:
        connected_at = from_iso(entry["connected_at"]) / 1000
        id_, endpoint = entry["id"], entry["endpoint_name"]
    except (KeyError, TypeError, ValueError):  # a connection without a time or an id cannot be identified
        return None
    if not (isinstance(id_, str) and id_.isprintable() and 0 < len(id_) <= MAX_ID_CHARACTERS):
        return None
    address = str(entry.get("client_ip") or "")
    return HeldConnection(
        id=id_,
        endpoint=str(endpoint),
        connected_at=connected_at,
        address=address if address.isprintable() and len(address) <= MAX_ID_CHARACTERS else "",
    )


def _entries(answer: dict[str, Any]) -> list[dict[str, Any]]:
    data = answer.get("data")
    return [entry for entry in data if isinstance(entry, dict)] if isinstance(data, list) else []


def _next_token(answer: dict[str, Any]) -> str:
    token = _object(answer.get("meta")).get("next_token")
    return token if isinstance(token, str) else ""


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> int | None:
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]  # for any value that `int` refuses, return None
    except (TypeError, ValueError, OverflowError):  # JSON's 1e999 is infinite
        return None
