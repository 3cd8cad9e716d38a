"""
Kafka Connect's REST API: the routes, what they accept, and how they answer.

`connectors`  list, create, read, change, delete
`states`      status, tasks, pause, resume, stop, restart; topics
`offsets`     source offsets: show, change, remove
`plugins`     classes, the definitions of their options, validation
`loggers`     log levels
`root`        version and health of the worker

`bodies` reads requests, `answers` has the types of all bodies, `definitions` makes Connect's definitions of options,
`ports` says what the routes need from the group.
"""

from connector.cluster.plugins import Plugins
from connector.cluster.refused import Unavailable
from connector.telemetry.loggers import Loggers
from connector.web.connect.connectors import ConnectorRoutes
from connector.web.connect.loggers import LoggerRoutes
from connector.web.connect.offsets import OffsetRoutes
from connector.web.connect.plugins import PluginRoutes
from connector.web.connect.ports import Connectors, Worker
from connector.web.connect.root import STARTING, RootRoutes
from connector.web.connect.states import StateRoutes
from connector.web.routes import Route, routes_in


def routes_of(connectors: Connectors, plugins: Plugins, worker: Worker, loggers: Loggers) -> list[Route]:
    """Return all routes of Connect; while the worker is starting, those of connectors answer 503."""

    def check_started() -> None:
        if (reason := worker.starting()) is not None:
            raise Unavailable(f"{STARTING} {reason}".rstrip())

    about_group = (ConnectorRoutes(connectors), StateRoutes(connectors), OffsetRoutes(connectors))
    about_worker = (PluginRoutes(plugins, connectors), LoggerRoutes(loggers), RootRoutes(worker))
    return [
        *(route for subject in about_group for route in routes_in(subject, check_started)),
        *(route for subject in about_worker for route in routes_in(subject)),
    ]
