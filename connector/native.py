"""
The compiled form of what every post costs (`_native.c`): where it was built, and was not left out.

`compiled` is the module or None.  Whoever uses it has a form in Python beside it, which gives the same.
"""

import os

PURE_PYTHON = "CONNECTOR_PURE_PYTHON"
"""Set to anything, this variable leaves the compiled form out: to compare, or to rule it out when in doubt."""

try:
    from connector import _native as _built
except ImportError:  # installed without a C compiler
    _built = None  # type: ignore[assignment]

compiled = None if os.environ.get(PURE_PYTHON) else _built
