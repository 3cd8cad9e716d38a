"""
What a worker shows over HTTP, as Faust web views.

`rest`     Connect's routes
`coverage` /coverage: what is missing
`health`   /ping, /ready, /metrics
`guard`    logins, what a request must be to change something, and every error as JSON
`origin`   host names that are answered, and pages that may write
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
