"""Applies the transforms of a connector to its records, in order."""

from collections.abc import Callable, Sequence

from connector.config.chain import Chosen
from connector.errors import TransformFailed
from connector.transforms.record import Predicate, Record, Transform

REASON_CHARACTERS_MAX = 500


class Chain:
    """
    The transforms of one connector.

    Raises:
        Unfit: a transform of another package refuses its options.
    """

    def __init__(self, chosen: Sequence[Chosen]) -> None:
        self._steps = tuple(_Step(each) for each in chosen)
        self.length = len(self._steps)
        self.keeps_value = all(each.kind.keeps_value for each in chosen)
        """Whether no transform changes values: these are then delivered byte for byte as X sent them."""

    def apply(self, record: Record) -> Record | None:
        """
        Return what becomes of *record*; None if a transform drops it.

        Raises:
            TransformFailed: a transform cannot take the record.
        """
        post_id, labels = record.post_id, record.labels
        current = record
        for step in self._steps:
            try:
                if not step.wanted(current):
                    continue
                found = step.transform.apply(current)
            except Exception as exc:
                raise step.failure(post_id, exc) from exc
            if found is None:
                return None
            if not isinstance(found, Record):
                raise step.failure(post_id, TypeError(f"it returned {type(found).__name__} in place of a record"))
            current = found
        current.post_id, current.labels = post_id, labels
        return current


class _Step:
    """One transform with its predicate."""

    def __init__(self, chosen: Chosen) -> None:
        self._alias, self._kind = chosen.alias, chosen.kind.simple_name
        self.transform: Transform = chosen.kind.make(chosen.options)
        self.wanted = _wanted(chosen)

    def failure(self, post_id: int, exc: Exception) -> TransformFailed:
        """Return the error for *exc*, which this transform has raised for the post *post_id*."""
        reason = str(exc) if isinstance(exc, ValueError) else f"{type(exc).__name__}: {exc}"
        return TransformFailed(
            f"The transform {self._alias} ({self._kind}) cannot take the post {post_id}:"
            f" {reason[:REASON_CHARACTERS_MAX]}",
            transform=self._alias,
        )


def _wanted(chosen: Chosen) -> Callable[[Record], bool]:
    if chosen.predicate is None:
        return lambda _: True
    predicate: Predicate = chosen.predicate.kind.make(chosen.predicate.options)
    return (lambda record: not predicate.test(record)) if chosen.negate else predicate.test
