"""Commands of `faust -A connector …`, one file each."""

import faust


def register(app: faust.App) -> None:
    """Add all commands to *app*."""
