"""
The HTTP interface of a worker, as Faust web views.

`rest`      Connect's routes
`coverage`  /coverage: covered time and gaps
`health`    /ping, /ready, /metrics
`guard`     logins, checks of requests that may change something, and errors as JSON
`origin`    checks of the headers Host and Origin: host names that are answered, pages that may write
"""

import faust

from connector.cluster.overview import Overview
from connector.telemetry.metrics import Metrics
from connector.web import coverage, health, rest


def register(app: faust.App, overview: Overview, metrics: Metrics) -> None:
    """Add all views to *app*."""
    health.register(app, overview, metrics)
    rest.register(app, overview)
    coverage.register(app, overview)
