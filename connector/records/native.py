"""
The compiled form of what every post costs (`_native.c`): where it was built, and was not left out.

`compiled` is the module or None.  Whoever uses it has a form in Python beside it, which gives the same.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

PURE_PYTHON = "CONNECTOR_PURE_PYTHON"
"""Set to anything, this variable leaves the compiled form out: to compare, or to rule it out when in doubt."""

_NAME = "connector.records._native"


def _load() -> "tuple[ModuleType | None, str]":
    """Return the module, or None and why a module that was built could not be loaded; nothing for one that was not."""
    if os.environ.get(PURE_PYTHON):
        return None, ""
    try:
        return import_module(_NAME), ""
    except ModuleNotFoundError as exc:
        if exc.name == _NAME:  # installed without a C compiler, or for a Python without the limited API
            return None, ""
        return None, str(exc)
    except ImportError as exc:
        return None, str(exc)


compiled, broken = _load()
"""*broken* is why the compiled form was built and is not used; empty if nothing is wrong."""
