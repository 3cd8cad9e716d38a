"""
Reads the text of a Java `.properties` file.

Kafka Connect's users have such files for connectors and for secrets.  The rules are those of `java.util.Properties`.
"""

import re

_BLANK = " \t\f"
_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_SPECIAL = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
# A key ends at the first separator without a backslash before it.
_PAIR = re.compile(r"((?:\\.|[^\\=: \t\f])*)[ \t\f]*(?:[=:][ \t\f]*)?(.*)", re.DOTALL)


def parse_properties(text: str) -> dict[str, str]:
    """
    Return keys and values of *text*; of a key that stands there twice, the last value.

    Raises:
        ValueError: an escape is malformed; the message names the line.
    """
    found = {}
    for number, line in _logical_lines(text):
        key, value = _PAIR.fullmatch(line).groups()  # type: ignore[union-attr]  # it matches any text
        try:
            found[_unescaped(key)] = _unescaped(value)
        except ValueError:
            raise ValueError(f"line {number} has \\u without four hexadecimal digits") from None
    return found


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Return the lines that hold a pair, joined where a backslash continues them, with the number of the first line."""
    lines: list[tuple[int, str]] = []
    continued = False
    for number, natural in enumerate(_LINE_ENDS.split(text), start=1):
        line = natural.lstrip(_BLANK)
        if continued:
            first, begun = lines.pop()
            lines.append((first, begun + line))
        elif line and line[0] not in "#!":
            lines.append((number, line))
        else:
            continue
        # an even number of backslashes are escaped backslashes
        continued = (len(line) - len(line.rstrip("\\"))) % 2 == 1
        if continued:
            first, begun = lines.pop()
            lines.append((first, begun[:-1]))
    return lines


def _unescaped(text: str) -> str:
    # Surrogate pairs are two escapes in Java.
    plain = _ESCAPE.sub(_character, text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if "\\u" in text else plain


def _character(escape: re.Match[str]) -> str:
    code = escape[1]
    if code[0] == "u":
        return chr(int(code[1:], 16))  # ValueError for `\u` alone
    return _SPECIAL.get(code, code)
