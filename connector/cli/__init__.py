"""Commands of `faust -A connector …`, one file each."""

import faust

from connector.cli import simulate


def register(app: faust.App) -> None:
    """Add all commands to *app*."""
    simulate.register(app)
