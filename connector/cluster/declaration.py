"""
Brings the connector that this worker's environment declares into the group, and lets this worker begin.

The worker joins its group when it knows the connectors: it may have to deal the slots, and should not be dealt tasks
that it does not know.
"""

import asyncio
from collections.abc import Callable, Mapping

from mode import Service

from connector.cluster.connectors import Connectors
from connector.cluster.herder import Herder
from connector.cluster.refused import Refused
from connector.cluster.statuses import Statuses
from connector.kafka.state.compacted_log import CompactedLog
from connector.telemetry.events.cluster import ConnectorDeclared, ConnectorNotDeclared
from connector.telemetry.events.event import Event

CATCH_UP_SECS = 10.0
"""The longest wait for the configurations before the worker joins its group without them (seconds)."""

RETRY_SECS = 5.0


class Declaration(Service):
    """
    Its start ends once the configurations, which *log* follows, are known; then it declares the connector *config*.

    *config* is empty if the environment declares none.
    """

    mundane_level = "debug"  # our events say what an operator wants to know

    def __init__(
        self,
        config: Mapping[str, str],
        connectors: Connectors,
        herder: Herder,
        statuses: Statuses,
        log: CompactedLog,
        *,
        emit: Callable[[Event], None],
    ) -> None:
        super().__init__()
        self._config, self._connectors, self._herder = config, connectors, herder
        self._statuses, self._log, self._emit = statuses, log, emit
        self.problem: str | None = None if not config else "its connector is not declared yet"
        """Why the declared connector is not in the group as declared; None if it is, or if there is none."""

    async def on_start(self) -> None:
        try:
            async with asyncio.timeout(CATCH_UP_SECS):
                await self._log.caught_up.wait()
        except TimeoutError:
            self.log.warning("The configurations could not be read within %g s", CATCH_UP_SECS)

    @Service.task
    async def _declare(self) -> None:
        await self.wait(self._log.caught_up.wait())
        self._herder.go_live()
        while self._config and not self.should_stop:
            name = self._config["name"]
            try:
                created = await self._connectors.declare(name, self._config, self._statuses.worker_id)
            except Refused as exc:
                self.problem = f"the connector {name} cannot be declared: {exc}"
                self._emit(ConnectorNotDeclared(connector=name, reason=str(exc), retry_in_secs=RETRY_SECS))
                await self.sleep(RETRY_SECS)
            else:
                self.problem = None
                if created is not None:
                    self._emit(ConnectorDeclared(connector=name, created=created))
                return
