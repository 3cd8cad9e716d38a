"""
REST calls to X, and the meaning of X's answers.

`classify` is the one place that turns an HTTP answer into an exception, by a table; the stream uses it too.
Problem types are matched by the last part of their path, because their host is api.twitter.com or api.x.com.
A body may also be empty, HTML, broken JSON, or of the v1.1 form `{"errors": [{"code", "message"}]}`.
"""

import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, IncompleteRead
from typing import Any, Self

import requests
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
from urllib3.response import HTTPResponse

from connector.errors import (
    RESET_SECS_MAX,
    AnswerTooLong,
    ConnectionLost,
    ConnectionTaken,
    ConnectorError,
    InvalidRequest,
    NotAuthorized,
    NotFound,
    OutOfCredit,
    RateLimited,
    RulesMissing,
    ServiceUnavailable,
    TokenRejected,
)
from connector.records.scanner import whole_pairs
from connector.sources.http.headers import Quota, date_of, quota_of, reset_of, reset_secs_of
from connector.sources.http.session import CERTIFICATE_CURE, prepare, trust_problem
from connector.sources.http.wire import Wire
from connector.sources.rest.credentials import Credentials

CONNECT_TIMEOUT_SECS = 3.05
"""Slightly more than TCP's first retransmission after 3 s (as in the documentation of requests)."""

ANSWER_BYTES = 1024 * 1024
"""The longest answer that is accepted, in bytes after unpacking."""

LIST_BYTES = 32 * 1024 * 1024
LISTS = ("/2/tweets/search/recent", "/2/tweets/search/stream/rules", "/2/tweets/counts/recent")
"""
Paths whose answers may have LIST_BYTES.

A page can hold 100 posts of 256 kB, the largest that X's limits allow, or 1,000 rules of 2,048 characters, or the
counts of all minutes of a week.
"""

ANSWER_SECS = 30.0
"""The longest time for a request and its whole answer, in seconds, the connect included."""

MAX_ERROR_BYTES = 64 * 1024
"""How much of an error's body is read, in bytes after unpacking."""

PIECE_BYTES = 64 * 1024

MAX_WORDS = 500
"""The most characters of X's own words in a message; some answers of X list every accepted value."""

HTTP_OK = 200
HTTP_NO_CONTENT = 204
HTTP_SUCCESS_CLASS = 2  # 200, and 201 for rules
HTTP_UNPROCESSABLE = 422


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The body of an error, parsed; a field that the body does not have is empty."""

    title: str = ""
    detail: str = ""
    type: str = ""
    """The last part of the problem's type, such as `usage-capped`."""
    issue: str = ""
    """`connection_issue`, such as TooManyConnections."""
    disconnect_type: str = ""
    code: int = 0
    """The number of a v1.1 error."""
    messages: tuple[str, ...] = ()
    """The messages in `errors[]`."""

    @property
    def words(self) -> str:
        """X's own words in one line, shortened."""
        parts = [self.title, "" if self.detail == self.title else self.detail, *self.messages]
        return _shorten("; ".join(part for part in parts if part))

    @property
    def is_about_credit(self) -> bool:
        """Whether credits, the spend cap or the monthly cap are used up; waiting does not help, even after a 429."""
        return self.type in {"credits", "usage-capped"} or self.title in {
            "CreditsDepleted",
            "SpendCapReached",
            "UsageCapExceeded",
        }


def parse_problem(body: bytes | Mapping[str, Any]) -> Problem:
    """Parse the body of an error; a body that is not a JSON object gives an empty `Problem`."""
    if isinstance(body, bytes):
        try:
            body = json.loads(whole_pairs(body).decode(errors="replace"))
        except (ValueError, RecursionError):  # HTML, empty, cut off, or nested too deep
            return Problem()
    if not isinstance(body, Mapping):
        return Problem()
    listed = body.get("errors")
    errors = [error for error in listed if isinstance(error, Mapping)] if isinstance(listed, list) else []
    first = errors[0] if errors else {}
    code = first.get("code", body.get("code"))

    def text(key: str) -> str:
        # an error line of a stream has the key in errors[0], an HTTP error has it at the top
        value = body.get(key) or first.get(key)
        return value if isinstance(value, str) else ""

    return Problem(
        title=text("title"),
        detail=text("detail"),
        type=text("type").rstrip("/").rpartition("/")[2],
        issue=text("connection_issue"),
        disconnect_type=text("disconnect_type"),
        code=code if isinstance(code, int) else 0,
        messages=tuple(message for error in errors for message in error_messages(error)),
    )


def error_messages(error: Mapping[str, Any], *, depth: int = 3) -> tuple[str, ...]:
    """Return the messages of one entry of `errors[]`; an entry may hold `errors[]` of its own, up to *depth* levels."""
    nested = error.get("errors")
    if isinstance(nested, list) and nested and depth:
        return tuple(
            message
            for inner in nested
            if isinstance(inner, Mapping)
            for message in error_messages(inner, depth=depth - 1)
        )
    details = error.get("details")
    if isinstance(details, list) and details:
        return tuple(str(detail) for detail in details if isinstance(detail, str | int | float))
    message = error.get("message")
    return (str(message),) if message else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """
    One row of the table.

    An answer fits if it has *status* and *when* is true of its body.  It then becomes an *error* with a message made of
    *says* and *cure*.
    """

    error: type[ConnectorError]
    status: int | None = None
    """None fits any status."""
    when: Callable[[Problem], bool] = lambda _: True
    says: str
    cure: str


_TOKEN_CURE = "check x.bearer.token, or x.consumer.key and x.consumer.secret"  # noqa: S105 - names of settings
_CREDIT_CURE = "buy credits or raise the cap in X's developer console"

# The first row that fits counts.
_TABLE: tuple[_Row, ...] = (
    _Row(error=TokenRejected, status=401, says="X does not accept the token", cure=_TOKEN_CURE),
    _Row(error=OutOfCredit, status=402, says="the account has no credits", cure=_CREDIT_CURE),
    # SpendCapReached comes as 403, UsageCapExceeded as 429
    _Row(
        error=OutOfCredit,
        when=lambda p: p.is_about_credit,
        says="the account has used up its budget",
        cure=_CREDIT_CURE,
    ),
    # /oauth2/token refuses a key pair with the code 99 of v1.1
    _Row(
        error=NotAuthorized,
        status=403,
        when=lambda p: p.code == 99,  # noqa: PLR2004 - explained above
        says="X does not know this pair of consumer key and secret",
        cure="check x.consumer.key and x.consumer.secret (CONNECTOR_X_CONSUMER_KEY, CONNECTOR_X_CONSUMER_SECRET)",
    ),
    _Row(
        error=NotAuthorized,
        status=403,
        says="X does not let this account do this",
        cure="check in X's developer console that the app belongs to a project whose plan has this endpoint",
    ),
    _Row(error=NotFound, status=404, says="X has no such endpoint for this account", cure="check x.api.url"),
    _Row(
        error=RulesMissing,
        status=409,
        when=lambda p: p.issue in {"", "RuleConfigurationIssue"} and p.type != "conflict",
        says="X has no rules for the filtered stream",
        cure="set hashtags or rules",
    ),
    _Row(
        error=InvalidRequest,
        when=lambda p: p.type == "rule-cap" or p.title == "RulesCapExceeded",
        says="the rules are more than X lets this account have",
        cure="have fewer rules, or delete those of others",
    ),
    _Row(
        error=ConnectionTaken,
        status=429,
        when=lambda p: p.issue == "TooManyConnections" or p.type == "streaming-connection",
        says="X holds as many connections of this account as it allows",
        cure="end the other reader; a dead one's slot frees by itself after a while",
    ),
    _Row(error=RateLimited, status=429, says="X counts too many requests", cure="it will be tried again"),
    # what v1.1 said instead of 429
    _Row(error=RateLimited, status=420, says="X counts too many requests", cure="it will be tried again"),
    _Row(error=ServiceUnavailable, status=408, says="X did not get the request in time", cure="it will be tried again"),
    _Row(
        error=ServiceUnavailable,
        when=lambda p: p.issue == "ProvisioningSubscription",
        says="X is still setting up a change of the account's plan",
        cure="it will be tried again, for some minutes",
    ),
)
_REFUSED = _Row(error=InvalidRequest, says="X refuses the request", cure="correct the configuration")
_REDIRECTED = _Row(
    error=ServiceUnavailable,
    says="X answers with a redirect, which is not followed with the token",
    cure="check x.api.url",
)
_BROKEN = _Row(error=ServiceUnavailable, says="X cannot answer now", cure="it will be tried again")


def _row(status: int, problem: Problem) -> _Row:
    for row in _TABLE:
        if row.status in {None, status} and row.when(problem):
            return row
    match status // 100:
        case 4:
            return _REFUSED
        case 3:
            return _REDIRECTED
        case _:
            return _BROKEN


def classify(status: int, headers: Mapping[str, str], body: bytes) -> ConnectorError:
    """
    Return the error that an HTTP answer (*status*, *headers*, *body*) stands for; only for answers without success.

    Only the headers `x-rate-limit-reset` and `date` are used; their names must be in lower case, or *headers* must
    ignore case.
    """
    problem = parse_problem(body)
    row = _row(status, problem)
    said = f"{status} {problem.words}".rstrip()
    message = f"{row.says} ({said}): {row.cure}"
    words: dict[str, Any] = {"title": problem.title, "detail": problem.detail, "status": status}
    if row.error is RateLimited:
        reset_at, secs = reset_of(headers), reset_secs_of(headers)
        ahead = reset_at - time.time() if secs is None and reset_at is not None else secs or 0.0
        if ahead > RESET_SECS_MAX:
            message += (
                f"; X says that the limit ends in {ahead:,.0f} s, but no limit of X lasts longer than 15 minutes, so"
                f" the wait is {RESET_SECS_MAX:.0f} s"
            )
        return RateLimited(message, reset_at=reset_at, reset_secs=secs, **words)
    return row.error(message, **words)


def network_error(error: BaseException | None) -> ConnectorError:
    """Return our error for a failure below HTTP, given an exception of requests, urllib3, http.client or socket."""
    if isinstance(error, ValueError):
        # requests' InvalidURL, InvalidSchema, InvalidHeader: waiting does not help; the text may hold the token
        return InvalidRequest(f"The request cannot be made ({type(error).__name__}): check x.api.url and the proxy")
    cause = _cause(error)
    # a certificate bundle that cannot be read raises an OSError that is not about the network
    is_of_network = isinstance(cause, ConnectionError | TimeoutError | socket.gaierror)
    if isinstance(cause, OSError) and not is_of_network and (problem := trust_problem()):
        return problem
    if isinstance(cause, ssl.SSLCertVerificationError):
        return ConnectionLost(
            f"The certificate of X's host is not one that is trusted ({cause.verify_message}): {CERTIFICATE_CURE}"
        )
    if isinstance(cause, IncompleteRead):
        return ConnectionLost("X broke the connection off in the middle of its answer")
    return ConnectionLost(f"The connection to X broke or could not be made: {_shorten(str(cause))}")


def _cause(error: BaseException | None) -> BaseException | None:
    # requests and urllib3 wrap the original exception in up to three others whose texts do not help
    if error is None:
        return None
    inner = [getattr(error, "reason", None), *error.args]
    if isinstance(error, NewConnectionError | ConnectTimeoutError):
        inner = [error.__cause__]
    return next((_cause(wrapped) for wrapped in inner if isinstance(wrapped, BaseException)), error)


def redacted(body: bytes, token: str) -> bytes:
    """Return *body* without *token*; a proxy's error page may repeat the request with the token in it."""
    return body.replace(token.encode(), b"[token]") if token else body


def _shorten(words: str) -> str:
    return words if len(words) <= MAX_WORDS else words[: MAX_WORDS - 1] + "…"


class Api:
    """
    REST calls of one account at one host.  Executor threads, one at a time.

    *token_fetched* is called when *credentials* exchanged a key pair for a token.  `wire.cut` ends a call at once.
    Each request ends after *answer_secs* seconds at the latest, even if bytes still arrive.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        *,
        token_fetched: Callable[[], None] = lambda: None,
        wire: Wire | None = None,
        answer_secs: float = ANSWER_SECS,
    ) -> None:
        self.url = url.rstrip("/")
        self._credentials = credentials
        self._token_fetched = token_fetched
        self._quotas: dict[tuple[str, str], Quota] = {}
        self.ahead_secs: float | None = None
        """
        How far X's clock was at least ahead of this host's at the last answer (behind: below 0), in seconds.

        0.0 is as near as X tells it, in whole seconds and at some time of the request; None if X did not tell.
        """
        self._wire = Wire() if wire is None else wire
        self._answer_secs = answer_secs
        self._session = requests.Session()
        prepare(self._session, self._wire)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections; a later call opens new ones."""
        self._session.close()
        self._wire.hang_up()

    def token(self) -> str:
        """
        Return the bearer token; exchange the key pair first if there is no token yet.

        Raises:
            ConnectorError: as `get`.
        """
        return self._credentials.token(self.exchange)

    def renew_token(self, rejected: str) -> bool:
        """
        Fetch a new token if the credentials allow it; return whether the token now differs from *rejected*.

        Raises:
            ConnectorError: as `get`.
        """
        return self._credentials.renew(rejected, self.exchange)

    def quota(self, path: str) -> Quota | None:
        """Return the rate limit of `GET` *path* as X last stated it; None if X has not."""
        return self._quotas.get(("GET", path))

    def get(self, path: str, params: Mapping[str, Any] | None = None, *, exact: bool = False) -> dict[str, Any]:
        """
        Return the JSON object that X answers; a token from a key pair is fetched again once if X refuses it.

        Unless *exact*, half of a surrogate pair in a text becomes U+FFFD, because logs and requests cannot encode it.

        Raises:
            AnswerTooLong: the answer has more bytes than X's answers have, or takes too long.
            ConnectorError: the answer is an error, by the table; `ConnectionLost` if there is no answer.
        """
        return self._call("GET", path, params=params, exact=exact)

    def post(self, path: str, json: object = None, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """As `get`."""
        return self._call("POST", path, params=params, json=json)

    def delete(self, path: str, json: object = None, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """As `get`."""
        return self._call("DELETE", path, params=params, json=json)

    def exchange(self, authorization: str) -> str:
        """
        Exchange *authorization* (Basic) for a bearer token (docs.x.com: POST oauth2/token); the token is not decoded.

        Raises:
            NotAuthorized: X does not know the pair.
            ConnectorError: as `get`.
        """
        answer = self._request(
            "POST",
            "/oauth2/token",
            authorization,
            data={"grant_type": "client_credentials"},
            hide=authorization[6:],
        )
        token = answer.get("access_token")
        if not isinstance(token, str) or not token:
            raise ServiceUnavailable("X answered the exchange of the consumer key without a token: try again later")
        self._token_fetched()
        return token

    def _call(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        token = self.token()
        try:
            return self._request(method, path, f"Bearer {token}", hide=token, **request)
        except TokenRejected:
            if not self.renew_token(token):
                raise
        token = self.token()
        return self._request(method, path, f"Bearer {token}", hide=token, **request)

    def _request(
        self, method: str, path: str, authorization: str, *, hide: str, exact: bool = False, **request: Any
    ) -> dict[str, Any]:
        max_bytes = LIST_BYTES if path in LISTS else ANSWER_BYTES
        asked_at = time.time()
        with self._wire.within(self._answer_secs):
            try:
                response = self._session.request(
                    method,
                    self.url + path,
                    headers={"Authorization": authorization},
                    timeout=(CONNECT_TIMEOUT_SECS, self._answer_secs),
                    allow_redirects=False,
                    stream=True,  # else requests reads the whole body, however long
                    **request,
                )
                with response:
                    if (date := date_of(response.headers)) is not None:
                        self.ahead_secs = ahead_of(date, asked_at, time.time())
                    if quota := quota_of(response.headers):
                        self._quotas[method, path] = quota
                    if response.status_code // 100 != HTTP_SUCCESS_CLASS:
                        words = redacted(error_body(response.raw), hide)
                        raise classify(response.status_code, response.headers, words)
                    body = _body(response.raw, max_bytes)
            # urllib3 raises a ValueError for a bad address
            except (requests.RequestException, HTTPError, HTTPException, OSError, ValueError) as error:
                if not self._wire.is_late:
                    raise network_error(error) from None
        # an answer that was cut off may look complete, so this is checked even without an error
        if self._wire.is_cut:
            raise ConnectionLost(f"{method} {path} was ended by a stop")
        if self._wire.is_late:
            raise AnswerTooLong(
                f"The answer of X to {method} {path} was not complete after {self._answer_secs:g} s, and is given up:"
                " it will be tried again",
            )
        if body is None:
            raise AnswerTooLong(
                f"The answer of X to {method} {path} has more than {max_bytes:,} bytes, which no answer of X has: is"
                " x.api.url right?",
                status=response.status_code,
            )
        if not body and (response.status_code == HTTP_NO_CONTENT or response.headers.get("content-length") == "0"):
            return {}
        return _object(body, f"{method} {path}", response.status_code, exact=exact)


def ahead_of(date: float, asked_at: float, answered_at: float) -> float:
    """
    Return how many seconds the clock that said *date* was at least ahead of ours, below 0 if it was behind.

    It was read at some time between *asked_at* and *answered_at* of ours, and the rest of its second is cut off: a slow
    answer is no wrong clock.
    """
    least, most = date - answered_at, date + 1 - asked_at
    return min(max(0.0, least), most)


def _body(raw: HTTPResponse, limit: int) -> bytes | None:
    """Return the unpacked body, None if it has more than *limit* bytes; errors of urllib3 pass through."""
    pieces: list[bytes] = []
    size = 0
    while piece := raw.read1(PIECE_BYTES, decode_content=True):
        size += len(piece)
        if size > limit:
            return None
        pieces.append(piece)
    return b"".join(pieces)


def error_body(raw: HTTPResponse) -> bytes:
    """Return the begin of an error's body, at most MAX_ERROR_BYTES; empty if the body cannot be read."""
    try:
        return raw.read(MAX_ERROR_BYTES, decode_content=True)
    except (HTTPError, HTTPException, OSError):
        return b""


def _object(body: bytes, what: str, status: int, *, exact: bool) -> dict[str, Any]:
    try:
        answer = json.loads(body if exact else whole_pairs(body).decode())
    except ValueError:
        answer = None
    except RecursionError:
        raise ServiceUnavailable(
            f"X answered {what} with JSON of more levels than can be read: it will be tried again", status=status
        ) from None
    if not isinstance(answer, dict):
        raise ServiceUnavailable(f"X answered {what} with {status} and no JSON: is x.api.url right?", status=status)
    return answer
