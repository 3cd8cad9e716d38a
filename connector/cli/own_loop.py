"""Commands that bring an event loop of their own."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NoReturn

from faust.cli import AppCommand


def own_loop(run: Callable[[Mapping[str, Any]], int]) -> type[AppCommand]:
    """
    Return the base of a Faust command that is *run* with the values of its options, and exits with what that returns.

    Faust would run the command inside a worker.  `--json` before the command's name means the same as behind it.
    """

    class OwnLoop(AppCommand):
        abstract: ClassVar[bool] = True

        def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
            raise SystemExit(run({**self.kwargs, "json_": self.kwargs["json_"] or self.json}))

    return OwnLoop
