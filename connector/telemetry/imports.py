"""Keeps a library from importing an optional module that is installed but only costs memory here."""

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without(module: str) -> Iterator[None]:
    """Make imports of *module* fail as if it were not installed; no effect if it is imported already."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # makes an import raise ModuleNotFoundError
    try:
        yield
    finally:
        del sys.modules[module]
