"""How many posts a second a connector delivers lately, from the totals in its offsets, whenever somebody looks."""

from collections import deque

WINDOW_SECS = 30.0
LEAST_SECS = 10.0
"""A rate is told only over at least this time (seconds): offsets of a quiet stream come every five."""


class Rates:
    """The totals of each connector that were seen lately; times in monotonic seconds."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[float, int]]] = {}

    def note(self, connector: str, posts: int, now: float) -> float | None:
        """Take note that *connector* has delivered *posts* in all, and return its rate; None while it is not known."""
        seen = self._seen.setdefault(connector, deque())
        if seen and (posts < seen[-1][1] or now - seen[-1][0] > WINDOW_SECS):  # set back, or nobody has looked
            seen.clear()
        if not seen or now - seen[-1][0] >= 0.5:  # noqa: PLR2004  # half a second, so that few looks are kept
            seen.append((now, posts))
        while len(seen) > 1 and now - seen[1][0] >= WINDOW_SECS:
            seen.popleft()
        begun, before = seen[0]
        if now - begun < LEAST_SECS:
            return None
        return round((posts - before) / (now - begun), 2)

    def keep(self, connectors: set[str]) -> None:
        """Forget the connectors that are not among *connectors*."""
        for name in self._seen.keys() - connectors:
            del self._seen[name]
