"""`Filter`: drops records."""

from dataclasses import dataclass

from connector.transforms.record import Record

DOC = "Drops the records for which its predicate holds."


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`Filter` has no options of its own: its predicate says what is dropped."""


class Filter:
    """Drops each record that it gets."""

    def __init__(self, options: Options) -> None:
        pass

    def apply(self, record: Record) -> None:
        return None
