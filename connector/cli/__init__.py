"""Commands of `faust -A connector …`, one file each; `children`, `proof` and `screen` are parts of the demo."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connector.config import Loaded
    from connector.process import ConnectorApp


def register(app: "ConnectorApp", loaded: "Loaded") -> None:
    """Add all commands to *app*, which was made of *loaded*."""
    # Here, so that `python -m connector.cli.demo` does not find itself imported.
    from connector.cli.audit import register as register_audit
    from connector.cli.coverage import register as register_coverage
    from connector.cli.demo import register as register_demo
    from connector.cli.simulate import register as register_simulate

    register_audit(app, loaded)
    register_coverage(app, loaded)
    register_demo(app)
    register_simulate(app)
