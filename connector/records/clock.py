"""
What time is it?  By a UNIX clock that does not jump.

Times of arrivals and connections are compared with each other and with X's clock.  The machine's clock may be set
meanwhile, by an hour too; this one was read from it once, and goes on steadily from there.  What it was wrong by then
is part of the skew that each connect measures.
"""

import time

_BEGAN = time.time() - time.monotonic()


def now() -> float:
    """Return the local UNIX time in seconds, as the clock stood at the process's start.  Any thread."""
    return _BEGAN + time.monotonic()
