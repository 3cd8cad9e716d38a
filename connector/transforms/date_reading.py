"""
How a text is read as a time by the pieces of a pattern: as leniently as Java's `SimpleDateFormat` does.

`date_format` makes the pieces, and writes.
"""

import time
from dataclasses import dataclass, field
from datetime import date

from connector.config.options import shown
from connector.transforms.moment import DAY_MS

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
HALVES = ("AM", "PM")
SHORT = 3
"""From this number of letters on, a month is a name."""
ISO_LETTERS_MAX = 3
HOUR_MS, MINUTE_MS, SECOND_MS = 3_600_000, 60_000, 1_000
FIRST_MS = (date(1583, 1, 1) - date(1970, 1, 1)).days * DAY_MS
LAST_MS = (date(9999, 12, 31) - date(1970, 1, 1)).days * DAY_MS + DAY_MS - 1
CENTURY = 100

_WINDOW_YEARS = 80
"""A year of two digits lies in the hundred years that begin this long ago."""
_DIGITS_MAX = 9
_ZONE_HOURS, _ZONE_MINUTES = 23, 59


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a pattern: *count* times the same *letter*, or *text* that stands for itself."""

    letter: str
    count: int
    text: str = ""


class NoMatch(Exception):
    """A text has not the form of the pattern."""


@dataclass(slots=True)
class Fields:
    """Fields of a time in the order in which they were read; of two that say the same, the later one counts."""

    found: dict[str, int] = field(default_factory=dict)

    def set(self, letter: str, value: int) -> None:
        """Take *value* for the field *letter*; for `zone`, how far the time zone is ahead of UTC (ms)."""
        self.found.pop(letter, None)
        self.found[letter] = value

    def ms(self) -> int:
        """Return the time (UNIX ms)."""
        ms = self._day() * DAY_MS + self._of_day() - self.found.get("zone", 0)
        if not FIRST_MS <= ms <= LAST_MS:
            raise ValueError("the time lies before the year 1583 or after 9999")
        return ms

    def _later(self, one: str, other: str) -> bool:
        order = list(self.found)
        return one in order and (other not in order or order.index(one) > order.index(other))

    def _day(self) -> int:
        """Return the days since 1970."""
        if ("E" in self.found or "u" in self.found) and not {"d", "D"} & self.found.keys():
            raise ValueError("a day of the week alone says no date: the format needs d or D")
        years, months = divmod(self.found.get("M", 0), 12)
        if self._later("D", "d"):
            years, months, days = 0, 0, self.found["D"]
        else:
            days = self.found.get("d", 1)
        year = self.found.get("y", 1970) + years
        if not 1 <= year <= 9999:  # noqa: PLR2004  # what `date` knows
            raise ValueError("the time lies before the year 1583 or after 9999")
        return (date(year, months + 1, 1) - date(1970, 1, 1)).days + days - 1

    def _of_day(self) -> int:
        """Return the milliseconds since midnight."""
        found, hour = self.found, self.found.get("H", 0)
        half = "a" in found and "h" in found and (self._later("h", "H") or self._later("a", "H"))
        if half or "H" not in found:
            hour = found.get("h", 0) + 12 * found.get("a", 0)
        return hour * HOUR_MS + found.get("m", 0) * MINUTE_MS + found.get("s", 0) * SECOND_MS + found.get("S", 0)


_CLOCK = {"k": ("H", 24), "h": ("h", 12), "K": ("h", 0), "H": ("H", 0)}
"""How an hour is kept, and the number that stands for 0."""


def is_number(piece: Piece) -> bool:
    """Return whether *piece* is a field that is read as a number; it then ends a number just before it."""
    return piece.letter in "ydDuHkKhmsS" or (piece.letter == "M" and piece.count < SHORT) if piece.letter else False


def read_field(text: str, start: int, piece: Piece, *, abutting: bool, fields: Fields) -> int:
    """Read the field *piece* of *text* into *fields*, and return the place behind it."""
    at = start
    while text[at] in " \t":
        at += 1
    letter, count = piece.letter, piece.count
    if letter in "zZX":
        return _read_zone(text, at, letter, count, fields)
    if letter in "Ea" or (letter == "M" and count >= SHORT):
        # Java looks for a name at *start*, before the blanks
        value, at = _read_name(text, start, {"E": DAYS, "a": HALVES}.get(letter, MONTHS))
    else:
        value, at = _read_number(text, at, start + count if abutting else None)
    if letter == "M":
        value -= count < SHORT
    elif letter == "y" and count <= 2 and at - start == 2 and text[start:at].isdigit():  # noqa: PLR2004  # `yy`
        value = _in_window(value)
    elif letter in _CLOCK:
        letter, zero = _CLOCK[letter]
        value = 0 if zero and value == zero else value
    fields.set(letter, value)
    return at


def _read_number(text: str, at: int, end: int | None) -> tuple[int, int]:
    """Read a whole number, which may be negative, up to *end*; return the place behind it."""
    if end is not None and end > len(text):
        raise NoMatch
    stop = len(text) if end is None else end
    begin = at + (at < stop and text[at] == "-")
    behind = begin
    while behind < stop and text[behind] in "0123456789":
        behind += 1
    if behind == begin:
        raise NoMatch
    if len(text[begin:behind].lstrip("0")) > _DIGITS_MAX:
        raise ValueError(f"{shown(text)} has too large a number")
    return int(text[at:behind]), behind


def _read_name(text: str, at: int, names: tuple[str, ...]) -> tuple[int, int]:
    for index, name in enumerate(names):
        for form in (name, name[:SHORT]):
            if text[at : at + len(form)].lower() == form.lower():
                return index, at + len(form)
    raise NoMatch


def _in_window(year: int) -> int:
    """Return the year whose last two digits are *year*, from 80 years ago to 19 years ahead."""
    first = _this_year() - _WINDOW_YEARS
    whole = first - first % CENTURY + year
    return whole if whole >= first else whole + CENTURY


def _read_zone(text: str, at: int, letter: str, count: int, fields: Fields) -> int:
    if letter == "X":
        if text[at] == "Z":
            fields.set("zone", 0)
            return at + 1
        return _read_offset(text, at, count, fields, colon=count == ISO_LETTERS_MAX)
    for name in ("GMT", "Coordinated Universal Time", "UTC"):
        if text[at : at + len(name)].lower() == name.lower():
            behind = at + len(name)
            if name == "GMT" and text[behind : behind + 1] in {"+", "-"}:
                return _read_offset(text, behind, 0, fields, colon=True)
            fields.set("zone", 0)
            return behind
    return _read_offset(text, at, 0, fields, colon=False)


def _read_offset(text: str, at: int, count: int, fields: Fields, *, colon: bool) -> int:
    """Read `+hh`, `+hhmm` or `+hh:mm`; *count* is that of the letter X, 0 for the others."""
    sign = {"+": 1, "-": -1}.get(text[at])
    if sign is None:
        raise NoMatch
    digits = 2 if text[at + 2 : at + 3].isdigit() else 1
    if digits == 1 and (count > 0 or not colon):
        raise NoMatch
    hours, at = _digits(text, at + 1, digits)
    minutes = 0
    if count != 1:
        if colon:
            if text[at] != ":":
                raise NoMatch
            at += 1
        minutes, at = _digits(text, at, 2)
    if hours > _ZONE_HOURS or minutes > _ZONE_MINUTES:
        raise NoMatch
    fields.set("zone", sign * (hours * HOUR_MS + minutes * MINUTE_MS))
    return at


def _digits(text: str, at: int, count: int) -> tuple[int, int]:
    found = text[at : at + count]
    if len(found) != count or not (found.isascii() and found.isdigit()):
        raise NoMatch
    return int(found), at + count


def _this_year() -> int:
    return time.gmtime().tm_year
