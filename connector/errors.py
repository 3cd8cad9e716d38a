"""
Everything that can go wrong, sorted by what to do about it.

    ConnectorError
    ├── ConfigError                fix the configuration: all problems at once, exit code 78
    ├── RetriableError             wait, then connect again
    │   ├── ConnectionLost         the stream closed, broke or fell silent
    │   │   └── Disconnected       X said so in the stream
    │   ├── ServiceUnavailable     5xx, or what is no answer of X's
    │   │   └── AnswerTooLong      more bytes than are read, or more time than is waited
    │   ├── RateLimited            429 that waiting cures; `reset_at` if X said when
    │   └── ConnectionTaken        429: another connection holds the slot
    ├── OutOfCredit                pause: money, not patience, is missing
    │   └── BudgetReached          the operator's own limit; over with the day or the month
    ├── FatalError                 stop the task: a person has to act
    │   ├── NotAuthorized          401, 403
    │   │   └── TokenRejected      401: a token made from a key pair may be fetched again, once
    │   ├── InvalidRequest         400, or a rule that X refuses
    │   │   └── RulesMissing       409: the filtered stream has no rules
    │   ├── NotFound               404: x.api.url is wrong; of an optional endpoint, it costs only its feature
    │   ├── BrokerUnsuitable       the broker, or a topic on it, cannot do what the configuration asks
    │   └── ToleranceExceeded      a bad record under errors.tolerance=none
    ├── BadRecord                  skip the record, or not: errors.tolerance decides
    └── DeliveryFailed             Kafka: the outcome is unknown, the committed offset is the truth
        ├── BrokerAway             Kafka cannot be reached; trying again costs nothing
        ├── RightMissing           Kafka does not let this user do it; over once somebody allows it
        ├── Fenced                 another owner has this task's transactional id
        └── RecordsRefused         Kafka does not take some records: those are bad records, the others go on

`Superseded`: another owner has delivered since; the task is over here.
No message holds a token, key or password.
"""

from collections.abc import Collection, Sequence
from typing import Any

RESET_SECS_MAX = 960.0
"""
The longest wait for the end of a rate limit, whatever `x-rate-limit-reset` says: X's windows last 15 minutes
(docs.x.com: rate-limits), and a minute is for clocks.
"""


class ConnectorError(Exception):
    """
    Something that the connector expects to happen now and then.

    *title* and *detail* are X's own words where X said something.
    """

    def __init__(self, message: str, *, title: str = "", detail: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.title = title
        self.detail = detail
        self.status = status

    @property
    def name(self) -> str:
        """The class's name: what logs, metrics and the status call this error."""
        return type(self).__name__


class ConfigError(ConnectorError):
    """The configuration has *problems*, each a sentence that names the cure."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class RetriableError(ConnectorError):
    """Waiting cures it."""


class ConnectionLost(RetriableError):
    """The connection closed, broke, could not be made, or fell silent."""


class Disconnected(ConnectionLost):
    """X ended the stream with an error line."""


class ServiceUnavailable(RetriableError):
    """X answered 5xx, or somebody in its place answered something else than X would."""


class AnswerTooLong(ServiceUnavailable):
    """An answer has more bytes than are read, or takes more time than is waited for it."""


class RateLimited(RetriableError):
    """
    Too many requests; *reset_at* is when the window ends (UNIX seconds of X's clock), if X said so.

    *reset_secs* is the time until then by the clock of the same answer, which needs no other clock to be right.
    """

    def __init__(
        self,
        message: str,
        *,
        reset_at: float | None = None,
        reset_secs: float | None = None,
        **words: str | int | None,
    ) -> None:
        super().__init__(message, **words)  # type: ignore[arg-type]  # title, detail and status pass through
        self.reset_at = reset_at
        self.reset_secs = reset_secs

    def secs_left(self, now: float) -> float | None:
        """
        Return the seconds until the window ends, from 0 to `RESET_SECS_MAX`; None if X did not say.

        *now* is UNIX time in seconds of X's clock, for an answer that did not tell its own.
        """
        secs = self.reset_secs
        if secs is None and self.reset_at is not None:
            secs = self.reset_at - now
        return None if secs is None else min(max(secs, 0.0), RESET_SECS_MAX)


class ConnectionTaken(RetriableError):
    """X holds another connection of this account for this stream."""


class OutOfCredit(ConnectorError):
    """Credits, spend cap or monthly usage are used up; no retry helps until that changes."""


class BudgetReached(OutOfCredit):
    """The connector has spent what it may; *resume_at* is when the next period begins (UNIX seconds of X's clock)."""

    def __init__(self, message: str, *, resume_at: float) -> None:
        super().__init__(message)
        self.resume_at = resume_at


class FatalError(ConnectorError):
    """A person has to act."""


class NotAuthorized(FatalError):
    """X does not let this account do this."""


class TokenRejected(NotAuthorized):
    """X does not know the bearer token (any more)."""


class InvalidRequest(FatalError):
    """X refuses what we ask; the message holds X's words."""


class RulesMissing(InvalidRequest):
    """X has no rules for the filtered stream."""


class BrokerUnsuitable(FatalError):
    """The broker, or a topic on it, cannot do what the configuration asks; the message names the setting."""


class ToleranceExceeded(FatalError):
    """A bad record, and `errors.tolerance` is `none`."""


class BadRecord(ConnectorError):
    """A line that is no post, or a post that the topic does not take."""


class DeliveryFailed(ConnectorError):
    """Kafka did not confirm; only the committed offset says what is in the topic."""


class BrokerAway(DeliveryFailed):
    """Kafka cannot be reached."""


class RightMissing(DeliveryFailed):
    """Kafka does not let this worker's user do what it has to do; the message names the *rights* and the resources."""

    def __init__(self, message: str, *, rights: Sequence[Any] = (), **words: str | int | None) -> None:
        super().__init__(message, **words)  # type: ignore[arg-type]  # title, detail and status pass through
        self.rights = tuple(rights)


class Fenced(DeliveryFailed):
    """A newer owner has initialised this task's transactional id."""


class RecordsRefused(DeliveryFailed):
    """
    Kafka answered that it does not take some records of the output topic; their batch is not committed.

    *partitions* of the topic have such records; what went to the others was acknowledged.
    """

    def __init__(self, message: str, *, partitions: Collection[int] = (), **words: str | int | None) -> None:
        super().__init__(message, **words)  # type: ignore[arg-type]  # title, detail and status pass through
        self.partitions = frozenset(partitions)


class Superseded(ConnectorError):
    """Another owner has delivered since this task last did."""


class NotFound(FatalError):
    """The API host has no such endpoint (404)."""
