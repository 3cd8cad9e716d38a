"""The ranges of time that can be asked for, and how many points each has."""

from dataclasses import dataclass

from connector.history.channels import DAY_SECS

SPARK_POINTS = 60
"""The points of the small curve of each connector."""


@dataclass(frozen=True, slots=True)
class Range:
    """A range that ends now: its length, the seconds of one point, and those of one point of a small curve."""

    name: str
    secs: int
    step_secs: int
    spark_secs: int

    def span(self, now_secs: float) -> tuple[int, int]:
        """Return begin and end (UNIX seconds); the end is that of the minute that goes on, or of its point."""
        end = -(-int(now_secs) // self.step_secs) * self.step_secs
        return end - self.secs, end


RANGES = {
    each.name: each
    for each in (
        Range("15m", 900, 60, 60),
        Range("1h", 3600, 60, 60),
        Range("6h", 6 * 3600, 60, 360),
        Range("24h", DAY_SECS, 300, 1500),
        Range("7d", 7 * DAY_SECS, 1800, 10_800),
    )
}
DEFAULT_RANGE = "1h"
