"""`faust -A connector simulate`: a stand-in for the X API v2, without an account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from faust.cli import AppCommand

from connector.simulator.command import options, run

if TYPE_CHECKING:
    import faust

    from connector.config.load import Loaded


class _OwnLoop(AppCommand):
    """
    A command that brings its own event loop.

    Faust would run the command inside a worker, with the worker's banner, signal
    handling and exit codes; the simulator has its own.
    """

    abstract: ClassVar[bool] = True

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise SystemExit(run(self.kwargs))


def register(app: faust.App, _loaded: Loaded | None = None) -> None:
    """Add the command `simulate` to an application."""

    @app.command(*options(), base=_OwnLoop)
    async def simulate(self: AppCommand, **_values: Any) -> None:
        """Run a stand-in for the X API v2 on this machine."""
