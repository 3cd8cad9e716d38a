"""
A UNIX clock that does not jump.

Times of arrivals and connections are compared with each other and with X's clock, while the machine's clock may be set,
even by an hour.  So this clock reads the machine's clock only once, at the start, and then runs with the monotonic
clock.  If the machine's clock was wrong at the start, the error is part of the skew that each connect measures.
"""

import time

_BEGAN = time.time() - time.monotonic()


def now() -> float:
    """Return the local UNIX time in seconds, as the clock stood at the process's start.  Any thread."""
    return _BEGAN + time.monotonic()
