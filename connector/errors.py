"""
Everything that can go wrong, sorted by what to do about it.

    ConnectorError
    ├── ConfigError                fix the configuration: all problems at once, exit code 78
    ├── RetriableError             wait, then connect again
    │   ├── ConnectionLost         the stream closed, broke or fell silent
    │   │   └── Disconnected       X ended the stream with an error line
    │   ├── ServiceUnavailable     5xx, or an answer that does not have the form of X's
    │   │   └── AnswerTooLong      the answer has too many bytes, or takes too long
    │   ├── RateLimited            429 that waiting cures; `reset_at` if X said when
    │   └── ConnectionTaken        429: another connection holds the slot
    ├── RegistryAway               wait, then ask again: the schema registry cannot be reached, or says to come again
    ├── OutOfCredit                pause: credits or a cap are used up, so an early retry does not help
    │   └── BudgetReached          the operator's own budget is spent, until the next day or month
    ├── FatalError                 stop the task: a person has to act
    │   ├── NotAuthorized          401, 403
    │   │   └── TokenRejected      401: a token made from a key pair may be fetched again, once
    │   ├── InvalidRequest         400, or a rule that X refuses
    │   │   ├── RulesMissing       409: the filtered stream has no rules
    │   │   └── RulesRefused       several connectors share the stream, and X refuses rules of some of them
    │   ├── NotFound               404: x.api.url is wrong; if the endpoint is optional, only its feature is missing
    │   ├── DeliveriesFailed       deliveries fail again and again, without one between that succeeds
    │   ├── BrokerUnsuitable       the broker, or a topic on it, cannot do what the configuration asks
    │   ├── SchemaRefused          the schema registry refuses the schema, the login or the right
    │   ├── RegistryUnanswered     the schema registry is away, and other connectors of the stream do not wait for it
    │   ├── Interrupted            a part of the task was cancelled, and nobody of ours had asked for that
    │   └── ToleranceExceeded      a bad record under errors.tolerance=none
    ├── BadRecord                  skip the record, or not: errors.tolerance decides
    │   └── TransformFailed        a transform cannot take the record
    └── DeliveryFailed             Kafka: the outcome is unknown, the committed offset is the truth
        ├── BrokerAway             Kafka cannot be reached; the task tries again without a limit
        ├── RightMissing           this worker's user lacks a right in Kafka; ends when somebody grants it
        ├── Fenced                 another owner has this task's transactional id
        └── RecordsRefused         Kafka refuses some records: those are bad records, the others are delivered

`Superseded`: another owner has delivered since this task last did; the task ends on this worker.
No message holds a token, key or password.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

RESET_SECS_MAX = 960.0
"""
The longest wait for the end of a rate limit, in seconds, even if `x-rate-limit-reset` says more.

X's windows last 15 minutes (docs.x.com: rate-limits); one more minute allows for clocks that differ.
"""


INTERRUPTED = "A library has cancelled a part of it: this is a fault of the connector, please report it."


class ConnectorError(Exception):
    """
    The base of all errors that the connector expects and handles.

    *title* and *detail* are X's own words, empty if X gave none; *status* is the HTTP status of X's answer, if known.
    """

    def __init__(self, message: str, *, title: str = "", detail: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.title = title
        self.detail = detail
        self.status = status

    @property
    def name(self) -> str:
        """The class's name, under which logs, metrics and the status show this error."""
        return type(self).__name__


class ConfigError(ConnectorError):
    """The configuration has *problems*, each a sentence that names the cure."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class RetriableError(ConnectorError):
    """A failure that waiting cures: wait, then try again."""


class ConnectionLost(RetriableError):
    """The connection closed, broke, could not be made, or fell silent."""


class Disconnected(ConnectionLost):
    """X ended the stream with an error line."""


class ServiceUnavailable(RetriableError):
    """X answered 5xx, or a proxy or another host answered in X's place."""


class AnswerTooLong(ServiceUnavailable):
    """X's answer has more bytes, or takes more time, than the connector allows."""


class RateLimited(RetriableError):
    """
    Too many requests; *reset_at* is when the window ends (UNIX seconds of X's clock), if X said so.

    *reset_secs* is the time from the answer's `Date` to *reset_at*, in seconds; this host's clock does not affect it.
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

        *now* (UNIX seconds of X's clock) is used only if *reset_secs* is None, that is, if the answer had no `Date`.
        """
        secs = self.reset_secs
        if secs is None and self.reset_at is not None:
            secs = self.reset_at - now
        return None if secs is None else min(max(secs, 0.0), RESET_SECS_MAX)


class ConnectionTaken(RetriableError):
    """X holds another connection of this account for this stream."""


class RegistryAway(ConnectorError):
    """The schema registry cannot be reached, does not answer in time, or says to come again."""


class OutOfCredit(ConnectorError):
    """The credits, the spend cap or the monthly usage are used up; retries fail until more is available."""


class BudgetReached(OutOfCredit):
    """The operator's budget is spent; *resume_at* is when the next period begins (UNIX seconds of X's clock)."""

    def __init__(self, message: str, *, resume_at: float) -> None:
        super().__init__(message)
        self.resume_at = resume_at


class FatalError(ConnectorError):
    """A person has to act; *may_pass* says whether what somebody does elsewhere may be enough, such as a plan at X."""

    may_pass = False


class NotAuthorized(FatalError):
    """X does not allow this account to make the request."""

    may_pass = True


class TokenRejected(NotAuthorized):
    """X does not accept the bearer token, or no longer accepts it."""


class InvalidRequest(FatalError):
    """X refuses the request as invalid; the message holds X's words."""


class RulesMissing(InvalidRequest):
    """X has no rules for the filtered stream."""


class RulesRefused(InvalidRequest):
    """X refuses rules of some connectors: *by_connector* has X's words about the rules of each."""

    def __init__(
        self, message: str, *, by_connector: Mapping[str, str] | None = None, **words: str | int | None
    ) -> None:
        super().__init__(message, **words)  # type: ignore[arg-type]  # title, detail and status pass through
        self.by_connector = dict(by_connector or {})


class DeliveriesFailed(FatalError):
    """Deliveries failed again and again, without one between that succeeded."""

    may_pass = True


class BrokerUnsuitable(FatalError):
    """The broker, or a topic on it, cannot do what the configuration asks; the message names the setting."""

    may_pass = True


class SchemaRefused(FatalError):
    """The schema registry refuses the schema, the login or the right; the message holds its words."""

    may_pass = True


class RegistryUnanswered(FatalError):
    """The schema registry is away, and other connectors that share the stream must not wait for it."""

    may_pass = True


class Interrupted(FatalError):
    """A part of a task, or a slot, was ended by a cancellation that nobody of ours had asked for."""

    may_pass = True


class ToleranceExceeded(FatalError):
    """There is a bad record, and `errors.tolerance` is `none`."""


class BadRecord(ConnectorError):
    """A line that is not a post, or a post that the topic refuses."""


class TransformFailed(BadRecord):
    """*transform*, an alias of the configuration, cannot take a record, or made one of it that cannot be delivered."""

    def __init__(self, message: str, *, transform: str = "", **words: str | int | None) -> None:
        super().__init__(message, **words)  # type: ignore[arg-type]  # title, detail and status pass through
        self.transform = transform


class DeliveryFailed(ConnectorError):
    """Kafka did not confirm a batch; only the committed offset tells whether the batch is in the topic."""


class BrokerAway(DeliveryFailed):
    """Kafka cannot be reached."""


class RightMissing(DeliveryFailed):
    """This worker's user lacks *rights* in Kafka; the message names the rights and the resources."""

    def __init__(self, message: str, *, rights: Sequence[Any] = (), **words: str | int | None) -> None:
        super().__init__(message, **words)  # type: ignore[arg-type]  # title, detail and status pass through
        self.rights = tuple(rights)


class Fenced(DeliveryFailed):
    """A newer owner has initialised this task's transactional id."""


class RecordsRefused(DeliveryFailed):
    """
    Kafka refused some records for an output topic; their batch is not committed.

    The refused records were for *places*, each a topic and a partition; Kafka acknowledged the records for others.
    """

    def __init__(self, message: str, *, places: Collection[tuple[str, int]] = (), **words: str | int | None) -> None:
        super().__init__(message, **words)  # type: ignore[arg-type]  # title, detail and status pass through
        self.places = frozenset(places)


class Superseded(ConnectorError):
    """Another owner has delivered since this task last did."""


class NotFound(FatalError):
    """The API host has no such endpoint (404)."""
