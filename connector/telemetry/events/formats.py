"""Events of `connector.formats`: what a schema registry answers."""

import logging
from dataclasses import dataclass

from connector.telemetry.events.event import Event
from connector.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaFound(Event):
    """The values of *subject* are written with the id *schema_id* from now on."""

    name = "schema.found"
    connector: str
    subject: str
    schema_id: int
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAwaited(Event):
    """The schema registry does not answer; posts wait, and none is lost."""

    name = "schema.registry_awaited"
    level = logging.WARNING
    connector: str
    waiting_secs: float
    reason: str
    retry_in_secs: float

    def count(self, metrics: Metrics) -> None:
        metrics.registry_failures.inc()


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAnswers(Event):
    """The schema registry answers again."""

    name = "schema.registry_answers"
    connector: str
    waited_secs: float
