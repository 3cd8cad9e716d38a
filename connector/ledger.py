"""
Which posts has this task delivered lately?  (Pure.)

X may send a post twice.  The ids of the last minutes are remembered in two generations: the older one is forgotten
when the younger is full or old.
"""

GENERATION_IDS = 2**17
GENERATION_SECS = 300.0


class Ledger:
    """Ids of posts handed to delivery: at least those of the last 5 minutes or the last 131,072."""

    def __init__(self) -> None:
        self._young: set[int] = set()
        self._old: set[int] = set()
        self._since: float | None = None

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def __contains__(self, post_id: int) -> bool:
        return post_id in self._young or post_id in self._old

    def add(self, post_id: int) -> None:
        """Remember *post_id*."""
        self._young.add(post_id)

    def forget(self, now: float) -> None:
        """Let go of what is too old, once in a while; *now* is monotonic seconds."""
        since = self._since = now if self._since is None else self._since
        if len(self._young) >= GENERATION_IDS or now - since >= GENERATION_SECS:
            self._old, self._young, self._since = self._young, set(), now
