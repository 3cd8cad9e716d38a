import time

import pytest

from connector.records import clock


def test_it_is_unix_time():
    """As the machine's clock says it, as long as nobody sets that."""
    assert pytest.approx(time.time(), abs=5) == clock.now()


def test_a_jump_of_the_machines_clock_is_not_followed(monkeypatch):
    """NTP sets the clock by an hour; between two arrivals no hour has passed."""
    before = clock.now()
    monkeypatch.setattr(time, "time", lambda: before + 3600)

    assert 0 <= clock.now() - before < 5


def test_it_goes_on(monkeypatch):
    """A second is a second."""
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    before = clock.now()
    monkeypatch.setattr(time, "monotonic", lambda: 1007.5)

    assert pytest.approx(7.5) == clock.now() - before
