"""
Our worker, the histogram of whose delivery times has bounds 2 % apart, so that percentiles can be read from it.

It measures what it always does: from the read of the socket to the confirmed commit, by its own clock.
"""

from connector import metrics
from connector.worker import main

BOUNDS_SECS = tuple(0.0002 * 1.02**number for number in range(640))  # up to a minute

if __name__ == "__main__":
    if not hasattr(metrics, "DELIVERY_BUCKETS_SECS"):
        raise SystemExit("connector.metrics has no DELIVERY_BUCKETS_SECS any more")
    metrics.DELIVERY_BUCKETS_SECS = BOUNDS_SECS
    main()
