"""`ReplaceField`: leaves out fields, or renames them."""

from dataclasses import dataclass
from typing import Annotated, Any

from connector.config.options import Option, boolean
from connector.transforms.lists import field_names, name_pairs
from connector.transforms.part import object_in
from connector.transforms.record import Record

DOC = "Leaves out fields, keeps only some, or renames them."


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `ReplaceField`."""

    exclude: Annotated[
        tuple[str, ...], Option(field_names(), "", "Fields to leave out, also of those in `include`.")
    ] = ()
    include: Annotated[
        tuple[str, ...], Option(field_names(), "", "Fields to keep; if there are any, no others stay.")
    ] = ()
    renames: Annotated[
        tuple[tuple[str, str], ...], Option(name_pairs(), "", "New names of fields, as `old:new`, comma-separated.")
    ] = ()
    replace_null_with_default: Annotated[
        bool, Option(boolean(), "", "Accepted, and without effect: values without a schema have no defaults.", "LOW")
    ] = True


class ReplaceField:
    """Leaves out fields of an object, keeps only some, and renames them; a null stays a null."""

    def __init__(self, options: Options) -> None:
        self._exclude, self._include = frozenset(options.exclude), frozenset(options.include)
        self._renames = dict(options.renames)

    def change(self, content: Any, record: Record) -> Any:
        if content is None:
            return None
        renamed, kept = self._renames.get, self._include
        return {
            renamed(name, name): value
            for name, value in object_in(content).items()
            if name not in self._exclude and (not kept or name in kept)
        }
