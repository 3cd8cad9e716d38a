"""
Java's `SimpleDateFormat` in UTC and in English, with the letters that a point in time needs.

    y year   M month   d day   D day of the year   E, u day of the week   a AM or PM
    H hour 0-23   k hour 1-24   K hour 0-11   h hour 1-12   m minute   s second   S millisecond
    z, Z, X time zone   '...' text as it stands   '' a quote

Reading is as lenient as Java's: month 13 is January of the next year, and what follows the last field is ignored.
Refused are G, Y, L, w, W and F, as eras and weeks depend on the country, and times before 1583, which Java counts by
another calendar.
"""

from collections.abc import Callable, Iterator
from datetime import date, timedelta

from connector.config.options import Unfit, shown
from connector.transforms.date_reading import (
    CENTURY,
    DAYS,
    FIRST_MS,
    HALVES,
    HOUR_MS,
    ISO_LETTERS_MAX,
    LAST_MS,
    MINUTE_MS,
    MONTHS,
    SECOND_MS,
    SHORT,
    Fields,
    NoMatch,
    Piece,
    is_number,
    read_field,
)
from connector.transforms.moment import DAY_MS

PATTERN_CHARACTERS_MAX = 200
FIELD_CHARACTERS_MAX = 30

_LETTERS = "yMdDEuaHkKhmsSzZX"
_REFUSED = "GYLwWF"
_LONG = 4
"""From this number of letters on, a name is written in full."""


class DateFormat:
    """
    Writes and reads times by *pattern*.

    Raises:
        Unfit: Java would not take the pattern, or it has letters that are refused here.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        if len(pattern) > PATTERN_CHARACTERS_MAX:
            raise Unfit(f"has {len(pattern)} characters: use at most {PATTERN_CHARACTERS_MAX}.")
        self._pieces = tuple(_pieces_of(pattern))

    def write(self, ms: int) -> str:
        """
        Return the text of the time *ms* (UNIX ms).

        Raises:
            ValueError: the time lies before 1583 or after 9999.
        """
        if not FIRST_MS <= ms <= LAST_MS:
            raise ValueError(f"the time {ms} lies before the year 1583 or after 9999")
        days, rest = divmod(ms, DAY_MS)
        day = date(1970, 1, 1) + timedelta(days)
        return "".join(piece.text or _WRITERS[piece.letter](day, rest, piece.count) for piece in self._pieces)

    def read(self, text: str) -> int:
        """
        Return the time in *text* (UNIX ms).

        Raises:
            ValueError: *text* has not the form of the pattern, or the time lies before 1583 or after 9999.
        """
        try:
            return self._read(text)
        except (NoMatch, IndexError):
            raise ValueError(f"{shown(text)} has not the form {self.pattern}") from None

    def _read(self, text: str) -> int:
        fields, at = Fields(), 0
        for number, piece in enumerate(self._pieces):
            if piece.text:
                if not text.startswith(piece.text, at):
                    raise NoMatch
                at += len(piece.text)
            else:
                behind = self._pieces[number + 1] if number + 1 < len(self._pieces) else None
                at = read_field(text, at, piece, abutting=behind is not None and is_number(behind), fields=fields)
        if at == 0:
            raise NoMatch
        return fields.ms()


def _pieces_of(pattern: str) -> Iterator[Piece]:
    at, text = 0, ""
    while at < len(pattern):
        letter = pattern[at]
        if letter == "'":
            quoted, at = _quoted(pattern, at)
            text += quoted
        elif letter.isascii() and letter.isalpha():
            if text:
                yield Piece("", 0, text)
                text = ""
            end = at
            while end < len(pattern) and pattern[end] == letter:
                end += 1
            yield _field(letter, end - at)
            at = end
        else:
            text, at = text + letter, at + 1
    if text:
        yield Piece("", 0, text)


def _quoted(pattern: str, at: int) -> tuple[str, int]:
    """Return the text between the quote at *at* and the next single one, and the place behind that."""
    if pattern.startswith("''", at):
        return "'", at + 2
    text, at = "", at + 1
    while True:
        end = pattern.find("'", at)
        if end < 0:
            raise Unfit(f"is {shown(pattern)}, in which a quote is not closed.")
        text += pattern[at:end]
        if not pattern.startswith("''", end):
            return text, end + 1
        text, at = text + "'", end + 2


def _field(letter: str, count: int) -> Piece:
    if letter in _REFUSED:
        raise Unfit(f"has the letter {letter} of SimpleDateFormat, which is not read here: use {', '.join(_LETTERS)}.")
    if letter not in _LETTERS:
        raise Unfit(f"has {letter}, which is no letter of SimpleDateFormat: put text between single quotes.")
    if count > FIELD_CHARACTERS_MAX or (letter == "X" and count > ISO_LETTERS_MAX):
        most = ISO_LETTERS_MAX if letter == "X" else FIELD_CHARACTERS_MAX
        raise Unfit(f"has {count} times {letter}: use at most {most}.")
    return Piece(letter, count)


# Writing


def _number(value: int, count: int) -> str:
    return str(value).zfill(count)


def _name(names: tuple[str, ...], index: int, count: int) -> str:
    return names[index] if count >= _LONG else names[index][:3]


def _year(day: date, _: int, count: int) -> str:
    return f"{day.year % CENTURY:02}" if count == 2 else _number(day.year, count)  # noqa: PLR2004  # `yy`


def _month(day: date, _: int, count: int) -> str:
    return _number(day.month, count) if count < SHORT else _name(MONTHS, day.month - 1, count)


def _hour(first: int, hours: int) -> Callable[[date, int, int], str]:
    return lambda _, ms, count: _number((ms // HOUR_MS - first) % hours + first, count)


_WRITERS: dict[str, Callable[[date, int, int], str]] = {
    "y": _year,
    "M": _month,
    "d": lambda day, _, count: _number(day.day, count),
    "D": lambda day, _, count: _number(day.timetuple().tm_yday, count),
    "E": lambda day, _, count: _name(DAYS, day.weekday(), count),
    "u": lambda day, _, count: _number(day.isoweekday(), count),
    "a": lambda _day, ms, _: HALVES[ms >= 12 * HOUR_MS],
    "H": _hour(0, 24),
    "k": _hour(1, 24),
    "K": _hour(0, 12),
    "h": _hour(1, 12),
    "m": lambda _, ms, count: _number(ms // MINUTE_MS % 60, count),
    "s": lambda _, ms, count: _number(ms // SECOND_MS % 60, count),
    "S": lambda _, ms, count: _number(ms % 1000, count),
    "z": lambda _day, _, count: "Coordinated Universal Time" if count >= _LONG else "UTC",
    "Z": lambda *_: "+0000",
    "X": lambda *_: "Z",
}
