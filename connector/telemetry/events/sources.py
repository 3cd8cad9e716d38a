"""Events of `connector.sources`: rules, token, and what X says in the stream."""

import logging
from dataclasses import dataclass

from connector.telemetry.events.event import Event
from connector.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesChanged(Event):
    """Rules at X changed; *held_elsewhere* are wanted rules that X has under a tag of others; they match, too."""

    name = "rules.changed"
    connector: str
    added: int
    deleted: int
    held_elsewhere: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFetched(Event):
    """X gave a bearer token in exchange for the key pair."""

    name = "token.fetched"
    connector: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureUnavailable(Event):
    """The API host has no endpoint for *feature*, or refuses it to this account; everything else works."""

    name = "feature.unavailable"
    level = logging.WARNING
    connector: str
    feature: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamErrorReceived(Event):
    """X sent a line about an error that does not end the stream, such as a post that it did not find."""

    name = "stream.error_received"
    level = logging.WARNING
    connector: str
    title: str | None
    detail: str | None

    def count(self, metrics: Metrics) -> None:
        metrics.stream_errors.inc()


class StreamErrorRepeated(StreamErrorReceived):
    """As `stream.error_received`, less than a minute after the last one that was logged at WARNING."""

    name = "stream.error_repeated"
    level = logging.DEBUG
