"""`MaskField`: hides what is in fields."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from connector.config.options import Option, Unfit, boolean, text
from connector.transforms.lists import field_names
from connector.transforms.moment import Moment
from connector.transforms.part import object_in
from connector.transforms.record import Record
from connector.transforms.values import kind_of

DOC = "Hides what is in fields: by an empty value of the same kind, or by a replacement."
DIGITS_MAX = 400
"""The most digits of a replacement that is written as a number; a float has no more than 309 before its point."""
_LONG = 1 << 63


def _filled(replacement: str) -> str:
    if not replacement:
        raise Unfit("is empty: leave it out to hide fields by an empty value.")
    return replacement


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `MaskField`."""

    fields: Annotated[tuple[str, ...], Option(field_names(), "", "Fields to hide.", "HIGH")]
    replacement: Annotated[
        str | None,
        Option(text(_filled), "", "What texts and numbers are replaced by; none: an empty text, or 0.", "LOW"),
    ] = None
    replace_null_with_default: Annotated[
        bool, Option(boolean(), "", "Accepted, and without effect: values without a schema have no defaults.", "LOW")
    ] = True


class MaskField:
    """Replaces fields of an object; a field that is absent becomes null, as in Connect, and a null stays one."""

    def __init__(self, options: Options) -> None:
        self._fields, self._replacement = options.fields, options.replacement

    def change(self, content: Any, record: Record) -> Any:
        changed = dict(object_in(content))
        for name in self._fields:
            changed[name] = self._masked(changed.get(name))
        return changed

    def _masked(self, value: Any) -> Any:
        if value is None:
            return None
        if self._replacement is not None:
            return _replaced(value, self._replacement)
        if isinstance(value, Moment):
            return Moment(0, value.form)
        return type(value)()  # "", 0, 0.0, False, [] or {}


def _replaced(value: Any, replacement: str) -> Any:
    if isinstance(value, str):
        return replacement
    if isinstance(value, bool) or not isinstance(value, int | float):
        kind = kind_of(value)
        raise ValueError(f"it cannot put a replacement in the place of {kind}: mask it without one")  # noqa: TRY004  # bad data
    try:
        number = Decimal(replacement)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number.adjusted()) > DIGITS_MAX or replacement != replacement.strip():
        raise ValueError(f"its replacement {replacement!r} is no number, and the field holds {kind_of(value)}")
    return float(number) if isinstance(value, float) else (int(number) + _LONG) % (2 * _LONG) - _LONG
