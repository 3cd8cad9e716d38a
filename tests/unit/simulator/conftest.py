"""Simulators that end with their test."""

from contextlib import ExitStack

import pytest

from connector.simulator import SimulatorSettings, SimulatorThread


@pytest.fixture
def start():
    """Start a simulator with these settings, in a thread."""
    with ExitStack() as stack:

        def start_one(clock=None, **settings):
            settings.setdefault("users", 50)  # enough, and quicker to make
            return stack.enter_context(SimulatorThread(SimulatorSettings(**settings), clock=clock))

        yield start_one


@pytest.fixture
def sim(start):
    """A simulator that holds one rule, `#python` with the tag `py`, and posts when told."""
    return start(rules=(("#python", "py"),))
