"""What is there compiled and in Python is tested in both forms."""

import pytest

from connector import native

NO_COMPILER = "the compiled form was not built: it needs a C compiler"

FORMS = pytest.mark.parametrize(
    "compiled",
    [
        pytest.param(None, id="python"),
        pytest.param(
            native.compiled, id="compiled", marks=pytest.mark.skipif(native.compiled is None, reason=NO_COMPILER)
        ),
    ],
)
"""Gives *compiled*, the module or None, to be put in its place."""
