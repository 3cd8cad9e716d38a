"""
The HTTP interface of a worker, as Faust web views.

`connect/`  Kafka Connect's REST API
`coverage`  /coverage: covered time and gaps
`rules`     /rules: what X holds, and the request to put rules in force
`history`   /history and /events: what an operator sees
`health`    /ping, /ready, /metrics
`page`      the page for browsers at `/`, and its files
`routes`    how a route is declared; `openapi`: /openapi.json, made from the declarations
`docs`      docs/routes.md, made from the same
`guard`     logins, checks of requests that may change something, and errors as JSON
`origin`    checks of headers: host names that are answered, pages that may write, types that are spoken
"""

import faust

from connector.cluster.overview import Overview
from connector.cluster.plugins import Plugins
from connector.cluster.view.live import Live
from connector.telemetry.loggers import Loggers
from connector.telemetry.metrics import Metrics
from connector.web import connect
from connector.web.connect.ports import Connectors
from connector.web.coverage import CoverageRoutes
from connector.web.health import HealthRoutes
from connector.web.history import HistoryRoutes
from connector.web.openapi import OpenAPIRoutes
from connector.web.page import PageRoutes, in_front_of
from connector.web.routes import Route, routes_in, serve
from connector.web.rules import RuleRoutes, Rules


def register(
    app: faust.App,
    overview: Overview,
    metrics: Metrics,
    *,
    connectors: Connectors,
    plugins: Plugins,
    live: Live,
    rules: Rules,
    login: bool,
) -> None:
    """Add all routes to *app*; *login* says whether they ask for one."""
    routes = routes_of(overview, metrics, connectors=connectors, plugins=plugins, live=live, rules=rules)
    serve(app, [*routes, *routes_in(OpenAPIRoutes(routes, login=login))])


def routes_of(
    overview: Overview, metrics: Metrics, *, connectors: Connectors, plugins: Plugins, live: Live, rules: Rules
) -> list[Route]:
    """Return all routes but that of their description."""
    routes = [
        *connect.routes_of(connectors, plugins, overview, Loggers()),
        *routes_in(HealthRoutes(overview, metrics)),
        *routes_in(CoverageRoutes(overview)),
        *routes_in(RuleRoutes(rules)),
        *routes_in(PageRoutes()),
        *routes_in(HistoryRoutes(live)),
    ]
    return [in_front_of(each) if (each.method, each.path) == ("GET", "/") else each for each in routes]
