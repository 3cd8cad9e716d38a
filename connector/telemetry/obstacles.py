"""Why parts of this worker cannot work although Kafka answers, for the log and for `/ready`."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from connector.telemetry.events.event import Event
from connector.telemetry.events.kafka import KafkaAdmits, KafkaRefuses

SAY_EVERY_SECS = 60.0
"""While an obstacle stays, it is logged again each time this has passed."""


@dataclass(slots=True)
class _Obstacle:
    reason: str
    since: float
    said: float


class Obstacles:
    """
    For each part of the worker that waits: the reason, until the part calls `pass_`.  Any thread.

    A reason is logged when it comes, when it changes, and once a minute while it stays.
    """

    def __init__(self, emit: Callable[[Event], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._emit, self._clock = emit, clock
        self._met: dict[str, _Obstacle] = {}
        self._lock = Lock()

    def meet(self, part: str, reason: str) -> None:
        """Note that *part* of the worker waits because of *reason*, a sentence."""
        now = self._clock()
        with self._lock:
            known = self._met.get(part)
            if known is not None and known.reason == reason and now - known.said < SAY_EVERY_SECS:
                return
            since = now if known is None else known.since
            self._met[part] = _Obstacle(reason, since, now)
        self._emit(KafkaRefuses(part=part, reason=reason, waiting_secs=round(now - since, 1)))

    def pass_(self, part: str) -> None:
        """Note that *part* of the worker can work again."""
        with self._lock:
            known = self._met.pop(part, None)
        if known is not None:
            self._emit(KafkaAdmits(part=part, waited_secs=round(self._clock() - known.since, 1)))

    def reasons(self) -> list[str]:
        """Return the reasons, each once, the oldest first."""
        with self._lock:
            met = sorted(self._met.values(), key=lambda obstacle: obstacle.since)
        return list(dict.fromkeys(obstacle.reason for obstacle in met))
