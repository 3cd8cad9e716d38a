import importlib
import platform
import sys

import pytest

from connector.telemetry.imports import without


def test_a_module_can_be_left_out():
    """Meanwhile it looks as if it was not installed, and later it can be imported."""
    sys.modules.pop("this", None)
    with without("this"), pytest.raises(ImportError):
        importlib.import_module("this")

    assert "this" not in sys.modules


def test_what_is_there_is_not_taken_away():
    """Somebody uses it already."""
    with without("platform"):
        assert platform is importlib.import_module("platform")
    assert platform is sys.modules["platform"]
