"""`TimestampConverter`: changes the form of a time."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from connector.config.chain import Setting
from connector.config.options import Conflict, Option, boolean, choice, text
from connector.transforms.date_format import DateFormat
from connector.transforms.moment import DAY_MS, Moment
from connector.transforms.part import object_in
from connector.transforms.record import Record
from connector.transforms.values import kind_of

DOC = "Changes the form of a time: text, UNIX time, or Connect's Date, Time and Timestamp."
LONG_MAX = 2**63 - 1

_PER_MS: Mapping[str, tuple[int, int]] = {
    "seconds": (1, 1000),
    "milliseconds": (1, 1),
    "microseconds": (1000, 1),
    "nanoseconds": (1_000_000, 1),
}
"""The units of a precision in so many milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `TimestampConverter`."""

    field: Annotated[str, Option(text(), "", "Field with the time; none: the whole is the time.", "HIGH")] = ""
    target_type: Annotated[
        Literal["string", "unix", "Date", "Time", "Timestamp"],
        Option(choice("string", "unix", "Date", "Time", "Timestamp"), "", "The form that the time gets.", "HIGH"),
    ]
    format: Annotated[
        DateFormat | None,
        Option(
            text(DateFormat),
            "",
            "Pattern of Java's SimpleDateFormat, in UTC, by which a text is read, and written with"
            " `target.type=string`. Letters: y, M, d, D, E, u, a, H, k, K, h, m, s, S, z, Z, X.",
        ),
    ] = None
    unix_precision: Annotated[
        Literal["seconds", "milliseconds", "microseconds", "nanoseconds"],
        Option(choice(*_PER_MS), "", "Unit of a whole number that is read as a time, or written.", "LOW"),
    ] = "milliseconds"
    replace_null_with_default: Annotated[
        bool, Option(boolean(), "", "Accepted, and without effect: values without a schema have no defaults.", "LOW")
    ] = True


def conflicts(options: Options, _: Setting) -> Iterable[Conflict]:
    """Yield what is wrong with several of *options* together."""
    if options.target_type == "string" and options.format is None:
        yield Conflict(("format", "target.type"), "is required with target.type=string: the pattern of the text.")


class TimestampConverter:
    """Converts the whole, or one field of an object; null stays null, and an absent field becomes null."""

    def __init__(self, options: Options) -> None:
        self._field, self._format = options.field, options.format
        self._times, self._by = _PER_MS[options.unix_precision]
        writers: Mapping[str, Callable[[int], Any]] = {
            "string": self._as_text,
            "unix": self._as_number,
            "Date": lambda ms: Moment(ms - ms % DAY_MS, "Date"),
            "Time": lambda ms: Moment(ms % DAY_MS, "Time"),
            "Timestamp": Moment,
        }
        self._write = writers[options.target_type]

    def change(self, content: Any, record: Record) -> Any:
        if content is None or not self._field:
            return self._converted(content)
        changed = dict(object_in(content))
        changed[self._field] = self._converted(changed.get(self._field))
        return changed

    def _converted(self, value: Any) -> Any:
        return None if value is None else self._write(self._read(value))

    def _read(self, value: Any) -> int:
        """Return the time that *value* is (UNIX ms)."""
        if isinstance(value, Moment):
            return value.ms
        if isinstance(value, str):
            if self._format is None:
                raise ValueError("it needs the option format to read a time from a text")
            return self._format.read(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return _long(_truncated(value * self._by, self._times))
        raise ValueError(f"it needs a time and found {kind_of(value)}")

    def _as_text(self, ms: int) -> str:
        if self._format is None:
            raise ValueError("it needs the option format to write a time as text")
        return self._format.write(ms)

    def _as_number(self, ms: int) -> int:
        return _long(_truncated(ms * self._times, self._by))


def _truncated(number: int, by: int) -> int:
    """Return *number* divided by *by*, without its fraction: Java cuts toward zero."""
    return number // by if number >= 0 else -(-number // by)


def _long(number: int) -> int:
    """Return *number*, or the nearest one of 64 bits, as Java's TimeUnit does."""
    return max(-LONG_MAX - 1, min(number, LONG_MAX))
