"""`HoistField`: puts an object with one field around the whole."""

from dataclasses import dataclass
from typing import Annotated, Any

from connector.config.options import Option, text
from connector.transforms.record import Record

DOC = "Puts an object with one field around the whole."


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `HoistField`."""

    field: Annotated[str, Option(text(), "", "Name of that field.", "HIGH")]


class HoistField:
    """Returns an object whose one field is what was there before, also if that is null."""

    def __init__(self, options: Options) -> None:
        self._field = options.field

    def change(self, content: Any, record: Record) -> Any:
        return {self._field: content}
