"""
Finds the members of a JSON object by the grammar alone (RFC 8259), at any depth.

Parsers build the values that they read, so they refuse some JSON that the grammar allows: half of a surrogate pair, a
thousand levels, numbers without bound.  This scanner builds no values and does not recurse, so it refuses only text
that is not JSON.  It is slow, about a microsecond for each value: use it only for the few lines that a parser refuses.
"""

import json
import re
from collections.abc import Collection, Mapping

# These patterns repeat only single characters: `re` keeps a state for each repetition of a group.
_SPACE = rb"[ \t\n\r]*+"
_STRING = rb'"[^"\\\x00-\x1f]*+"'
"""A string in a text whose escapes are masked (`_masked`)."""
_NUMBER = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"
_WHOLE = rb"(?P<whole>%b|%b|true|false|null|\{%b\})" % (_STRING, _NUMBER, _SPACE)
_ARRAYS = rb"(?P<arrays>\[[\[ \t\n\r]*+)"
_OBJECT = rb"(?P<object>\{%b%b%b:)" % (_SPACE, _STRING, _SPACE)
_ENDS = rb"(?P<ends>[\]}]++)"


def _after_space(*alternatives: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"%b(?:%b)" % (_SPACE, b"|".join(alternatives)))


_VALUE = _after_space(_WHOLE, _ARRAYS, _OBJECT)
_VALUE_OR_ENDS = _after_space(_WHOLE, _ARRAYS, _OBJECT, _ENDS)
_NEXT_ITEM_OR_ENDS = _after_space(rb"(?P<next>,)", _ENDS)
_NEXT_MEMBER_OR_ENDS = _after_space(rb"(?P<next>,%b%b%b:)" % (_SPACE, _STRING, _SPACE), _ENDS)
_TOP = _after_space(rb"\{%b(?:(?P<name>%b)%b:|(?P<end>\}))" % (_SPACE, _STRING, _SPACE))
_NEXT_OF_TOP = _after_space(rb",%b(?P<name>%b)%b:" % (_SPACE, _STRING, _SPACE), rb"(?P<end>\})")
_REST = _after_space(rb"\Z")

_MASKS = ((re.compile(rb"\\u[0-9a-fA-F]{4}"), b"......"), (re.compile(rb'\\["/bfnrt]'), b".."))
_SURROGATES = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<half>u[dD][89a-fA-F]..)|.)", re.DOTALL)


def members(text: bytes) -> dict[str, bytes]:
    """
    Return the members of the JSON object *text*, each value as JSON; of equal names the last one counts.

    Raises:
        ValueError: *text* is not UTF-8, no JSON, or no object; the message is a sentence without its subject.
    """
    try:
        text.decode()
    except UnicodeDecodeError as exc:
        raise ValueError(f"is not UTF-8 from byte {exc.start} on") from exc
    masked = _masked(text)
    step = _TOP.match(masked)
    if step is None:
        raise ValueError("is no JSON object")
    found: dict[str, bytes] = {}
    while step.lastgroup == "name":
        begin, end = step.span("name")
        value_at = step.end()
        value_end = _end_of_value(masked, value_at)
        found[json.loads(text[begin:end].decode())] = text[value_at:value_end].strip()
        step = _expect(_NEXT_OF_TOP, masked, value_end)
    _expect(_REST, masked, step.end())
    return found


def _masked(text: bytes) -> bytes:
    """Return *text* with dots in place of each valid escape; an invalid escape keeps its backslash."""
    if b"\\" in text:
        text = text.replace(rb"\\", b"..")  # first: then each remaining backslash begins an escape
        for escape, dots in _MASKS:
            text = escape.sub(dots, text)
    return text


def _end_of_value(masked: bytes, at: int) -> int:
    """Return where the value ends that begins at *at*, or after the space there."""
    unended = bytearray()  # the brackets that must close the open arrays and objects
    expected = _VALUE
    while True:
        step = _expect(expected, masked, at)
        at = step.end()
        match step.lastgroup:
            case "arrays":
                unended += b"]" * step["arrays"].count(b"[")
                expected = _VALUE_OR_ENDS
                continue
            case "object":
                unended += b"}"
                expected = _VALUE
                continue
            case "next":
                expected = _VALUE
                continue
            case "ends":
                count = min(len(step["ends"]), len(unended))
                if step["ends"][:count] != unended[: -count - 1 : -1]:
                    raise _no_json(step.start("ends"))
                del unended[-count:]
                at = step.start("ends") + count
        if not unended:
            return at
        expected = _NEXT_ITEM_OR_ENDS if unended.endswith(b"]") else _NEXT_MEMBER_OR_ENDS


def _expect(pattern: re.Pattern[bytes], masked: bytes, at: int) -> re.Match[bytes]:
    step = pattern.match(masked, at)
    if step is None:
        raise _no_json(at)
    return step


def _no_json(at: int) -> ValueError:
    return ValueError(f"is no JSON from byte {at} on")


def lean(line: bytes, *, data: Collection[str], beside: Collection[str] = ()) -> bytes:
    """
    Return *line* of X for a parser, with only the members *data* of its `data`, and those in *beside* next to `data`.

    Half of a surrogate pair is replaced with U+FFFD, as in `whole_pairs`.

    Raises:
        ValueError: *line* is no JSON object with an object `data`.
    """
    top = members(line)
    kept = {name: top[name] for name in beside if name in top}
    its_data = members(top.get("data", b""))
    kept["data"] = _object({name: its_data[name] for name in data if name in its_data})
    return whole_pairs(_object(kept))


def whole_pairs(text: bytes) -> bytes:
    """Return the JSON *text* with U+FFFD for each half of a surrogate pair, which Python cannot encode."""
    return _SURROGATES.sub(lambda escape: rb"\ufffd" if escape["half"] else escape[0], text)


def _object(fields: Mapping[str, bytes]) -> bytes:
    return b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), value) for name, value in fields.items())
