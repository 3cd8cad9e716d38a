"""The part of a record that a transform changes: its key (`$Key` in Connect's names) or its value (`$Value`)."""

from collections.abc import Callable
from typing import Any, Literal, Protocol

from connector.transforms.record import Record
from connector.transforms.values import kind_of

Part = Literal["key", "value"]
PARTS: tuple[tuple[str, Part], ...] = (("$Key", "key"), ("$Value", "value"))


class Changes(Protocol):
    """What a transform of a part does."""

    def change(self, content: Any, record: Record) -> Any:
        """Return the new key or value in place of *content*, the present one of *record*."""


class OfPart:
    """A transform that changes one *part* of each record by *changes*."""

    def __init__(self, changes: Changes, part: Part) -> None:
        self._change, self._part = changes.change, part

    def apply(self, record: Record) -> Record:
        if self._part == "value":
            record.value = self._change(record.value, record)
        else:
            record.key = self._change(record.key, record)
        return record


def maker_of(changes: Callable[[Any], Changes], part: Part) -> Callable[[Any], OfPart]:
    """Return what makes of options a transform of *part*."""
    return lambda options: OfPart(changes(options), part)


def object_in(content: Any) -> dict[str, Any]:
    """
    Return *content*, which must be an object.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(content, dict):
        return content
    raise ValueError(f"it needs an object and found {kind_of(content)}")
