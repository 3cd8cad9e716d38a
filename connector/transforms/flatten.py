"""`Flatten`: brings the fields of inner objects to the top."""

from dataclasses import dataclass
from typing import Annotated, Any

from connector.config.options import Option, text
from connector.transforms.moment import Moment
from connector.transforms.part import object_in
from connector.transforms.record import Record

DOC = "Brings the fields of inner objects to the top, under names such as `data.author_id`; lists stay as they are."


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `Flatten`."""

    delimiter: Annotated[str, Option(text(), "", "What stands between the names.")] = "."


class Flatten:
    """Returns an object without inner objects; lists and what is in them stay.  An empty inner object vanishes."""

    def __init__(self, options: Options) -> None:
        self._delimiter = options.delimiter

    def change(self, content: Any, record: Record) -> Any:
        if content is None:
            return None
        flat: dict[str, Any] = {}
        self._add(object_in(content), "", flat)
        return flat

    def _add(self, content: dict[str, Any], prefix: str, flat: dict[str, Any]) -> None:
        for name, value in content.items():
            # as in Connect, an empty name above adds no delimiter
            whole = f"{prefix}{self._delimiter}{name}" if prefix else name
            if isinstance(value, dict):
                self._add(value, whole, flat)
            elif isinstance(value, Moment):
                raise ValueError(f"it cannot take the time in {whole!r}: convert it after this transform")  # noqa: TRY004  # bad data
            else:
                flat[whole] = value
