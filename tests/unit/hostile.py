"""Lines as they should not come, or seldom do: the corpus of those tests that compare the two forms."""

import json
import random

from connector.records.post import MAX_ID

DEPTHS = (63, 64, 65, 254, 500, 1_000, 1_024, 1_500, 5_000, 100_000)
"""Around the limits of msgspec, orjson, `json` and the compiled form, and far beyond."""


def deep(levels, post_id=7, *, objects=False):
    """A post with a field of so many *levels*."""
    opening, closing = (b'{"a":', b"}") if objects else (b"[", b"]")
    return b'{"data":{"id":"%d","text":"deep","x":%b1%b}}' % (post_id, opening * levels, closing * levels)


def text(raw, post_id=7):
    """A post with *raw* between the quotes of its text."""
    return b'{"data":{"id":"%d","text":"%b"}}' % (post_id, raw)


def beside(raw, post_id=7):
    """A post with *raw* as a value beside its data."""
    return b'{"data":{"id":"%d"},"x":%b}' % (post_id, raw)


POSTS = [
    text(rb"cut \ud83d"),
    text(rb"\udc26 and \ud83d"),
    text(rb"\ud83d\ud83d\udc26"),
    text(rb"\\ud83d \" \/ \u0000 \b\f\n\r\t"),
    text("\u2028 \u202e \x7f \U0010ffff \ufffe".encode()),
    b'{"data":{"id":"7","\\ud800":"\\udfff"}}',
    b'{"\\ud800":{"\\ud800":null},"data":{"id":"7"}}',
    b'{"data":{"i\\u0064":"7"}}',
    b'{"d\\u0061ta":{"id":"\\u0037"}}',
    b'{"data":{"id":"1","id":"7"}}',
    b'{"data":{"id":"1"},"data":{"id":"7"}}',
    b'{"data":5,"data":{"id":7,"id":"7"}}',
    b'{"data":{"id":"1","i\\u0064":"7"}}',
    b'{"data":{"id":"7","id2":"1"},"id":"2"}',
    b' \t\r{ "data" : { "id" : "7" } } \r\t ',
    b'{"data":{"data":{"id":"1"},"id":"7"}}',
    b'{"data":{"id":"0000000000000000007"}}',
    *(beside(number) for number in (b"1e999", b"-0.0e-0", b"9" * 5_000, b"0." + b"3" * 5_000, b"-9223372036854775809")),
    *(deep(levels) for levels in DEPTHS),
    *(deep(levels, objects=True) for levels in DEPTHS if levels <= 5_000),
    beside(b'[{"":' * 800 + b"[]" + b"}]" * 800),
    b'{"data":{"id":"%d"}}' % MAX_ID,
    b'{"data":{"id":"1","text":"the first id that there may be"}}',
    text(b"x" * 200_000),
    text(rb"\ud83d" * 20_000),
]
"""JSON in UTF-8, with an id: records, as they are."""

NO_POSTS = [
    b"",
    b" ",
    b"\x00",
    b"\xef\xbb\xbf" + text(b"a byte order mark"),
    text(b"\xed\xa0\xbd"),  # half of a pair, not escaped: no UTF-8
    text(b"\xed\xa0\xbd\xed\xb0\xa6"),
    text(b"\xc0\x80"),
    text(b"\xff"),
    text(b"\xe2\x82"),
    text(b"\xf4\x90\x80\x80"),
    text(b"\x1f"),
    text(rb"\u12"),
    text(rb"\ud83d\u"),
    text(rb"\x41"),
    text(b"\\"),
    b'{"\xed\xa0\x80":1,"data":{"id":"7"}}',
    b'{"data":{"id":"\\ud800"}}',
    b'{"data":{"id":"7\\udc00"}}',
    b'{"data":{"id":"\xc2\xb2"}}',
    '{"data":{"id":"\u0667"}}'.encode(),
    b'{"data":{"id":""}}',
    b'{"data":{"id":"","text":""}}',
    b'{"data":{"id":"-7"}}',
    b'{"data":{"id":"+7"}}',
    b'{"data":{"id":" 7"}}',
    b'{"data":{"id":"7_0"}}',
    b'{"data":{"id":"0x7"}}',
    b'{"data":{"id":"0"}}',
    b'{"data":{"id":"00000000000000000007"}}',
    b'{"data":{"id":"%d"}}' % (MAX_ID + 1),
    b'{"data":{"id":"%d"}}' % 2**64,
    b'{"data":{"id":"%d"}}' % (2**64 + 7),
    b'{"data":{"id":"%b"}}' % (b"9" * 5_000),
    b'{"data":{"id":7}}',
    b'{"data":{"id":null}}',
    b'{"data":{"id":["7"]}}',
    b'{"data":{"id":"7","id":7}}',
    b'{"data":{"id":"7"},"data":null}',
    b'{"data":[{"id":"7"}]}',
    b'{"data":"id"}',
    b'{"id":"7"}',
    b'[{"data":{"id":"7"}}]',
    b'"data"',
    b"null",
    b"7",
    *(beside(number) for number in (b"01", b"+1", b".5", b"1.", b"1e", b"NaN", b"-Infinity", b"0x1", b"1_0", b"--1")),
    *(beside(odd) for odd in (b"", b"nul", b"True", b"'a'", b"[1,]", b"[,1]", b"[1 2]", b'{"a"}', b"{1:2}", b"//")),
    deep(1_500)[:-1],
    deep(1_500)[:-1_000],
    deep(1_500) + b"}",
    beside(b"[" * 1_500 + b"}" * 1_500),
    beside(b"[" * 100_000),
    b"[" * 100_000,
    b'{"data":' * 100_000,
    text(b"a")[:-1],
    text(b"a") * 2,
    text(b"a") + b"\x00",
]
"""All else: bad records."""


def oracle(line):
    """
    The id in *line* by Python's own parser; None if it is no post, or RecursionError.

    It has one thing to be told: `NaN` and `Infinity`, which it takes, are no JSON.
    """

    def refuse(constant):
        raise ValueError(constant)

    try:
        top = json.loads(line.decode(), parse_constant=refuse, parse_int=len, parse_float=len)
    except ValueError:
        return None
    data = top.get("data") if isinstance(top, dict) else None
    post_id = data.get("id") if isinstance(data, dict) else None
    if not isinstance(post_id, str) or not (post_id.isascii() and post_id.isdigit()) or len(post_id) > len(str(MAX_ID)):
        return None
    return int(post_id) if 0 < int(post_id) <= MAX_ID else None


SMALL_POSTS = [line for line in POSTS if len(line) < 1_000]
SMALL = [line for line in (*POSTS, *NO_POSTS) if len(line) < 1_000]
_TOKENS = [
    *(bytes((byte,)) for byte in b'{}[]:,"\\ \t\n\r\x00\x1f\x7f\x80\xbf\xc2\xe2\xed\xf0\xf4\xff0123456789-+.eEu'),
    *(
        b'"data"',
        b'"id"',
        b'"7"',
        b'"id":"8"',
        b'{"id":"9"}',
        b"true",
        b"null",
        b"1e5",
        b"-0",
        b"\\u",
        b"\\ud83d",
        b"\\udc26",
    ),
    *(
        "\u00e9\u20ac\U0001f426".encode(),
        b"\xed\xa0\x80",
        b"\xed\xb0\x80",
        b"\xf0\x9f",
        b"[" * 70,
        b"]" * 70,
        b'{"a":' * 70,
        b"}" * 70,
    ),
    b"x" * 17,
]


def damaged(rng: random.Random) -> bytes:
    """A line of the corpus with a few changes, with a piece of another one at times; some are posts all the same."""
    line = rng.choice(SMALL_POSTS) if rng.random() < 0.7 else rng.choice(SMALL)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        at, length = rng.randint(0, len(line)), rng.choice((0, 0, 0, 1, 2, 5, 20))
        match rng.randrange(8):
            case 0:
                piece = rng.randbytes(rng.randint(1, 4))
            case 1:
                other = rng.choice(SMALL)
                start = rng.randint(0, len(other))
                piece = other[start : start + rng.randint(1, 60)]
            case 2:
                piece = line[at : at + rng.randint(1, 30)] * rng.randint(1, 3)
            case 3:
                piece = b""
            case 4 | 5:  # into the last text or value, so that more of them stay JSON
                at, length = max(line.rfind(b'"'), 0), 0
                piece = rng.choice(_TOKENS)
            case _:
                piece = rng.choice(_TOKENS)
        line = line[:at] + piece + line[at + length :]
    return line
