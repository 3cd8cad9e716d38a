"""Commands of `faust -A connector …`, one file each; `children`, `proof` and `screen` are parts of the demo."""

import faust


def register(app: faust.App) -> None:
    """Add all commands to *app*."""
    # Here, so that `python -m connector.cli.demo` does not find itself imported.
    from connector.cli.demo import register as register_demo
    from connector.cli.simulate import register as register_simulate

    register_demo(app)
    register_simulate(app)
