"""What follows from the name of a topic, found out once for each topic."""

from collections.abc import Callable
from typing import TypeVar

TOPICS_KEPT = 1_000
"""The most topics that are remembered."""

T = TypeVar("T")


class ByTopic(dict[str, T]):
    """Remembers what *find* returns for each topic; it forgets all topics when it has `TOPICS_KEPT`."""

    def __init__(self, find: Callable[[str], T]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, topic: str) -> T:
        found = self._find(topic)
        if len(self) >= TOPICS_KEPT:
            self.clear()
        self[topic] = found
        return found
