"""
Loads compiled code: `_native.c`, for the work on every post; `formats/schemas/native` loads another one by `load`.

`compiled` is the module, or None if it was not built, cannot be loaded or is turned off.  Each place that uses it also
has Python code with the same results.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

PURE_PYTHON = "CONNECTOR_PURE_PYTHON"
"""With any value, this environment variable turns the compiled code off: to compare, or to rule it out as a cause."""


def load(name: str) -> "tuple[ModuleType | None, str]":
    """
    Load the compiled module *name*.

    Return it and ""; None and the reason if it cannot be loaded; None and "" if it was not built or is turned off.
    """
    if os.environ.get(PURE_PYTHON):
        return None, ""
    try:
        return import_module(name), ""
    except ModuleNotFoundError as exc:
        if exc.name == name:  # installed without a C compiler, or for a Python without the limited API
            return None, ""
        return None, str(exc)
    except ImportError as exc:
        return None, str(exc)


compiled, broken = load("connector.records._native")
"""*broken* says why the compiled code was built but cannot be loaded; empty if nothing is wrong."""
