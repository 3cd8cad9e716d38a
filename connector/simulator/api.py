"""
The routes of the API, with X's checks in X's order.

    gate (faults) -> token 401 -> rate 429 -> plan 403 -> parameters 400
                  -> money 402, 403, 429 -> rules 409 -> slots 429 -> 200
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import orjson

from connector.simulator.account import MAX_KILLS, Account
from connector.simulator.clock import Clock, parse_time
from connector.simulator.http.auth import BAD_CREDENTIALS, BadCredentials, Tokens
from connector.simulator.http.limits import Allowance, RateWindows
from connector.simulator.http.problems import (
    NOT_FOUND,
    PROBLEMS,
    Problem,
    Refused,
    bad_value,
    invalid_parameter,
    invalid_request,
)
from connector.simulator.http.wire import Request, Response, Silence, Takeover, render_head
from connector.simulator.posts.rendering import selection
from connector.simulator.streams.endpoints import FILTERED, STREAMS, StreamEndpoint
from connector.simulator.streams.messages import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from connector.simulator.faults.gate import Armed, Gate
    from connector.simulator.http.answers import Answers
    from connector.simulator.meter import Meter
    from connector.simulator.posts.lookup import Lookup
    from connector.simulator.posts.search import Search
    from connector.simulator.rules.store import RuleStore
    from connector.simulator.settings import SimulatorSettings
    from connector.simulator.streams.streams import Streams

MAX_BACKFILL_MINUTES = 5
RECOVERY_HOURS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """
    A call of the API.

    `endpoint` names its rate window; faults name calls by `group`.
    """

    endpoint: str
    group: str
    answer: Callable[[Request, Allowance], Response | Takeover]


class Api:
    """Answers the requests of the API."""

    def __init__(  # noqa: PLR0913 - everything the API is about
        self,
        *,
        settings: SimulatorSettings,
        clock: Clock,
        answers: Answers,
        gate: Gate,
        tokens: Tokens,
        windows: RateWindows,
        meter: Meter,
        rules: RuleStore,
        streams: Streams,
        search: Search,
        lookup: Lookup,
        account: Account,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._answers = answers
        self._gate = gate
        self._tokens = tokens
        self._windows = windows
        self._meter = meter
        self._rules = rules
        self._streams = streams
        self._search = search
        self._lookup = lookup
        self._account = account
        self._routes = self._table()

    def _table(self) -> Mapping[tuple[str, str], Route]:
        rules = "/2/tweets/search/stream/rules"
        rows: list[tuple[str, str, str, str, Callable[[Request, Allowance], Response | Takeover]]] = [
            ("GET", rules, "rules_get", "rules", self._get_rules),
            ("POST", rules, "rules_post", "rules", self._post_rules),
            ("GET", f"{rules}/counts", "rules_counts", "rules", self._rule_counts),
            ("GET", "/2/tweets", "lookup", "lookup", self._look_up),
            ("GET", "/2/usage/tweets", "usage", "usage", self._usage),
            ("GET", "/2/connections", "connections", "connections", self._connections),
            ("DELETE", "/2/connections", "connections_delete", "connections", self._kill),
            ("DELETE", "/2/connections/all", "connections_delete_all", "connections", self._kill_all),
        ]
        for scope in ("recent", "all"):
            archive = scope == "all"
            find = functools.partial(self._find, archive=archive)
            count = functools.partial(self._count, archive=archive)
            rows.append(("GET", f"/2/tweets/search/{scope}", f"search_{scope}", "search", find))
            rows.append(("GET", f"/2/tweets/counts/{scope}", f"counts_{scope}", "counts", count))
        for path, stream in STREAMS.items():
            rows.append(("GET", path, stream.name, "streams", functools.partial(self._open, stream=stream)))
            kill = functools.partial(self._kill_all, endpoint=stream.name)
            gone = f"/2/connections/{stream.name}"
            rows.append(("DELETE", gone, "connections_delete", "connections", kill))
        return {
            (method, path): Route(endpoint=endpoint, group=group, answer=answer)
            for method, path, endpoint, group, answer in rows
        }

    def handle(self, request: Request) -> Response | Takeover | Silence:  # noqa: PLR0911 - one for each check
        """Answer a request."""
        if self._gate.unreachable:
            return Silence()
        if request.path.startswith("/oauth2/"):
            return self._oauth(request)
        route = self._routes.get((request.method, request.path))
        if route is None or self._gate.absent & {route.endpoint, route.group}:
            return self._answers.problem(NOT_FOUND)
        armed = self._gate.take(route.group)
        if armed is not None and armed.problem.headers != "rest":
            return self._answers.problem(armed.problem)
        if not self._tokens.accepts(request):
            return self._answers.problem(PROBLEMS["E401"])
        allowance = self._windows.take(route.endpoint)
        if armed is not None:
            return self._armed(armed, allowance)
        if not allowance.allowed:
            return self._answers.problem(PROBLEMS["E429b"], allowance=allowance)
        try:
            return route.answer(request, allowance)
        except Refused as refused:
            return self._problem(refused.problem, allowance)

    def _armed(self, armed: Armed, allowance: Allowance) -> Response:
        if armed.name in ("E429b", "E429d"):
            # These answers come with a used-up window: none remaining.
            allowance = Allowance(allowed=False, limit=allowance.limit, remaining=0, reset=allowance.reset)
        return self._problem(armed.problem, allowance if armed.rate_headers else None)

    def _problem(self, problem: Problem, allowance: Allowance | None) -> Response:
        cycle = f"{self._meter.next_cycle:%Y-%m-%d}"
        return self._answers.problem(problem, allowance=allowance, reset_date=cycle)

    # Tokens.

    def _oauth(self, request: Request) -> Response:
        calls = {"/oauth2/token": self._tokens.issue, "/oauth2/invalidate_token": self._tokens.give_back}
        call = calls.get(request.path)
        if request.method != "POST" or call is None:
            return self._answers.problem(NOT_FOUND)
        armed = self._gate.take("token")
        if armed is not None:
            return self._problem(armed.problem, None)
        try:
            return self._answers.json(call(request))
        except BadCredentials:
            return self._answers.problem(Problem(status=403, body=BAD_CREDENTIALS))

    # Rules.

    def _get_rules(self, request: Request, allowance: Allowance) -> Response:
        body = self._rules.get(
            ids=request.param("ids"),
            max_results=request.param("max_results"),
            page=request.param("pagination_token"),
        )
        return self._answers.json(body, allowance=allowance)

    def _post_rules(self, request: Request, allowance: Allowance) -> Response:
        if not self._settings.profile.filtered_stream:
            raise Refused(PROBLEMS["E403b"])
        status, body = self._rules.post(
            _json(request),
            dry_run=request.param("dry_run") == "true",
            delete_all=request.param("delete_all") == "true",
        )
        return self._answers.json(body, status=status, allowance=allowance)

    def _rule_counts(self, _request: Request, allowance: Allowance) -> Response:
        return self._answers.json(self._rules.counts(), allowance=allowance)

    # Search.

    def _find(self, request: Request, allowance: Allowance, *, archive: bool) -> Response:
        self._need_money()
        page, posts, users = self._search.find(request, archive=archive)
        self._meter.bill_posts(posts, users=users)
        return self._answers.json(page, allowance=allowance)

    def _count(self, request: Request, allowance: Allowance, *, archive: bool) -> Response:
        self._need_money()
        body = self._search.count(request, archive=archive)
        self._meter.bill_request("counts_all" if archive else "counts_recent")
        return self._answers.json(body, allowance=allowance)

    def _look_up(self, request: Request, allowance: Allowance) -> Response:
        self._need_money()
        answer, posts, users = self._lookup.find(request)
        self._meter.bill_posts(posts, users=users)
        return self._answers.json(answer, allowance=allowance)

    def _need_money(self) -> None:
        shortage = self._meter.shortage
        if shortage is not None:
            raise Refused(PROBLEMS[shortage])

    # The account.

    def _usage(self, request: Request, allowance: Allowance) -> Response:
        return self._answers.json(self._account.usage(request), allowance=allowance)

    def _connections(self, request: Request, allowance: Allowance) -> Response:
        return self._answers.json(self._account.connections(request), allowance=allowance)

    def _kill(self, request: Request, allowance: Allowance) -> Response:
        body = _json(request)
        uuids = body.get("uuids") if isinstance(body, dict) else None
        if not isinstance(uuids, list) or not 1 <= len(uuids) <= MAX_KILLS:
            message = "JSON doesn't match expected schema"
            raise Refused(invalid_request({"parameters": {"uuids": []}, "message": message}))
        return self._answers.json(self._account.kill([str(uuid) for uuid in uuids]), allowance=allowance)

    def _kill_all(self, _request: Request, allowance: Allowance, *, endpoint: str | None = None) -> Response:
        return self._answers.json(self._account.kill_all(endpoint), allowance=allowance)

    # Streams.

    def _open(self, request: Request, allowance: Allowance, *, stream: StreamEndpoint) -> Response | Takeover:
        profile = self._settings.profile
        allowed = profile.filtered_stream if stream.name == FILTERED else profile.enterprise
        if not allowed:
            raise Refused(PROBLEMS["E403b"])
        wanted = self._wanted(request, stream)
        self._need_money()
        if stream.name == FILTERED and not len(self._rules):
            self._give_back(stream)
            raise Refused(PROBLEMS["E409"])
        if self._streams.slots.occupied(stream.name, wanted.partition) >= profile.connections:
            self._make_room(stream)
        head = self._answers.stream_head(allowance, gzip=wanted.gzip, date=formatdate(usegmt=True))
        return self._streams.open(wanted, head=render_head(200, head), remote=request.peer)

    def _make_room(self, stream: StreamEndpoint) -> None:
        if self._settings.second_connection == "kick_old":
            self._streams.slots.free_ghosts(stream.name)
            for connection in self._streams.live(stream.name)[:1]:
                connection.finish("kicked")
            return
        self._give_back(stream)
        raise Refused(PROBLEMS["E429a"])

    def _give_back(self, stream: StreamEndpoint) -> None:
        if not self._settings.count_refused:
            self._windows.give_back(stream.name)

    def _wanted(self, request: Request, stream: StreamEndpoint) -> Wanted:
        interval = self._interval(request, stream)
        backfill = self._backfill(request)
        return Wanted(
            endpoint=stream.name,
            selection=selection(request.query, stream=True),
            partition=_partition(request, stream),
            language=stream.language,
            gzip=self._settings.stream_gzip and request.wants_gzip,
            backfill_s=backfill * 60,
            interval=interval,
        )

    def _backfill(self, request: Request) -> int:
        text = request.param("backfill_minutes")
        if text is None:
            return 0
        if not text.isdecimal() or int(text) > MAX_BACKFILL_MINUTES:
            raise bad_value("backfill_minutes", text, f"is not between 0 and {MAX_BACKFILL_MINUTES}")
        if int(text) and not self._settings.profile.enterprise:
            raise bad_value("backfill_minutes", text, "is not available to your project")
        return int(text)

    def _interval(self, request: Request, stream: StreamEndpoint) -> tuple[float, float] | None:
        texts = request.param("start_time"), request.param("end_time")
        if texts == (None, None):
            return None
        name, text = next((n, t) for n, t in zip(("start_time", "end_time"), texts, strict=True) if t is not None)
        if not stream.has_range or not self._settings.profile.enterprise:
            raise bad_value(name, text, "is not available to your project")
        begin_text, end_text = texts
        if begin_text is None or end_text is None:
            raise bad_value(name, text, "needs both `start_time` and `end_time`")
        try:
            begin, end = parse_time(begin_text), parse_time(end_text)
        except ValueError:
            raise bad_value(name, text, "is not a valid RFC3339 date-time") from None
        if not self._clock.now() - RECOVERY_HOURS * 3600 <= begin < end:
            raise bad_value("start_time", begin_text, "must be within the last 24 hours and before `end_time`")
        return begin, end


def _partition(request: Request, stream: StreamEndpoint) -> int | None:
    if stream.partitions is None:
        return None
    text = request.param("partition")
    if not text:
        raise Refused(invalid_parameter("partition", [], "The `partition` query parameter can not be empty"))
    if not text.isdecimal() or not 1 <= int(text) <= stream.partitions:
        raise bad_value("partition", text, f"is not between 1 and {stream.partitions}")
    return int(text)


def _json(request: Request) -> Any:
    try:
        return orjson.loads(request.body) if request.body else {}
    except orjson.JSONDecodeError:
        message = "JSON doesn't match expected schema"
        raise Refused(invalid_request({"parameters": {}, "message": message})) from None
