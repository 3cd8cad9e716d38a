"""A field inside an object, by Connect's field syntax (KIP-821)."""

from collections.abc import Iterator
from typing import Any

from connector.config.options import Unfit
from connector.transforms.part import object_in

_TICK, _DOT, _BACKSLASH = "`", ".", "\\"


class FieldPath:
    """
    The names that lead to a field.

    By version 1 *text* is one name.  By version 2 names are parted by dots, and a name with dots in it stands between
    backticks; a backtick before a dot that belongs to the name has a backslash before it.
    """

    def __init__(self, text: str, *, nested: bool) -> None:
        self._names = tuple(_names(text)) if nested else (text,)

    def value_in(self, content: dict[str, Any]) -> Any:
        """
        Return the field in *content*; None if there is none.

        Raises:
            ValueError: what should hold the field is no object.
        """
        *outer, last = self._names
        for name in outer:
            inner = content.get(name)
            if inner is None:
                return None
            content = object_in(inner)
        return content.get(last)


def check_path(text: str) -> str:
    """
    Return *text* if it is a path of version 2.

    Raises:
        Unfit: a backtick is not closed.
    """
    list(_names(text))
    return text


def _names(text: str) -> Iterator[str]:
    rest = text
    while rest:
        if rest[0] == _TICK:
            name, behind = _ticked(rest[1:], text)
            yield name
            if behind is None:
                return
            rest = behind
        else:
            name, dot, rest = rest.partition(_DOT)
            yield name
            if not dot:
                return
    yield ""  # after a dot at the end, or of an empty text


def _ticked(rest: str, text: str) -> tuple[str, str | None]:
    """Return the name up to the backtick that closes it, and what follows the dot after it; None at the end."""
    name, at = "", 0
    while True:
        at = rest.find(_TICK, at)
        if at < 0:
            break
        escaped = at > 0 and rest[at - 1] == _BACKSLASH
        if at == len(rest) - 1:
            if escaped:
                break
            return name + rest[:at], None
        if rest[at + 1] != _DOT:
            at += 1
        elif escaped:
            name, rest, at = name + rest[: at - 1] + _TICK, rest[at + 1 :], 0
        else:
            return name + rest[:at], rest[at + 2 :]
    raise Unfit(f"is {text!r}, in which a backtick is not closed: close it, or put a backslash before it.")
