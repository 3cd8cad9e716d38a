"""`ExtractField`: one field takes the place of the whole key or value."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from connector.config.chain import Setting
from connector.config.options import Conflict, Option, Unfit, boolean, choice, text
from connector.transforms.part import object_in
from connector.transforms.paths import FieldPath, check_path
from connector.transforms.record import Record

DOC = "One field takes the place of the whole."


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `ExtractField`."""

    field: Annotated[str, Option(text(), "", "The field to take.", "HIGH")]
    field_syntax_version: Annotated[
        str,
        Option(
            choice("V1", "V2"),
            "",
            "`V2`: `field` is a path, such as `data.author_id`, with backticks around a name that has dots in it. `V1`:"
            " it is one name.",
        ),
    ] = "V1"
    replace_null_with_default: Annotated[
        bool, Option(boolean(), "", "Accepted, and without effect: values without a schema have no defaults.", "LOW")
    ] = True


def conflicts(options: Options, _: Setting) -> Iterable[Conflict]:
    """Yield what is wrong with several of *options* together."""
    if options.field is not None and options.field_syntax_version == "V2":
        try:
            check_path(options.field)
        except Unfit as unfit:
            yield Conflict(("field", "field.syntax.version"), unfit.rests[0])


class ExtractField:
    """Returns one field of an object, None if it is absent; a null stays a null."""

    def __init__(self, options: Options) -> None:
        self._path = FieldPath(options.field, nested=options.field_syntax_version == "V2")

    def change(self, content: Any, record: Record) -> Any:
        return None if content is None else self._path.value_in(object_in(content))
