"""What a transform gets and returns."""

from dataclasses import dataclass
from typing import Any, Protocol

Header = tuple[str, bytes]


@dataclass(slots=True, kw_only=True)
class Record:
    """
    One record between the source and its topic.

    *key* is a text, the post's id, and *value* the line of X: dicts, lists, texts, whole numbers, floats, booleans and
    None.  A transform may replace both by any of these, or change the objects in them.  A text as key is written as it
    is, everything else as JSON; None as key or value is written as none.

    *timestamp_ms* is the creation time of the post (UNIX ms).  *headers* are names and values, with the header `source`
    if a repair has found the post.  *post_id* is the id of the post, and *labels* are the labels of those rules of this
    connector that the post matched, in the order of the configuration; a transform does not change these two.
    """

    topic: str
    key: Any
    value: Any
    timestamp_ms: int
    headers: tuple[Header, ...] = ()
    post_id: int = 0
    labels: tuple[str, ...] = ()


class Transform(Protocol):
    """Changes records, or drops them."""

    def apply(self, record: Record) -> Record | None:
        """
        Return *record*, changed or not, or another record in its place; None drops it.

        Raises:
            ValueError: the record has not the form that this transform needs; the message says what is wrong.
        """


class Predicate(Protocol):
    """Says for which records a transform is used."""

    def test(self, record: Record) -> bool:
        """Return whether the predicate holds for *record*."""
