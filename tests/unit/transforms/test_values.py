import json

import pytest

from connector.transforms.moment import Moment
from connector.transforms.values import read, write_key, write_value

LINES = [
    b'{"data":{"id":"1","text":"\xf0\x9f\x90\xa6"}}',
    b'{"half":"\\ud83d"}',
    b'{"n":123456789012345678901234567890}',
    b'{"n":18446744073709551616,"f":1.5,"e":-0.0}',
    b"[1,2.5,null,true,{}]",
]


@pytest.mark.parametrize("line", LINES)
def test_read_and_written(line):
    """Everything that JSON can say comes out as it went in, exactly."""
    assert json.loads(line) == json.loads(write_value(read(line)))


def test_too_deep():
    """A line that no parser reads is an error with words."""
    with pytest.raises(ValueError, match="too deeply"):
        read(b"[" * 200_000 + b"]" * 200_000)


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("42", b"42"),
        ("ü", "ü".encode()),
        (None, None),
        ({"id": "1"}, b'{"id":"1"}'),
        (7, b"7"),
        (Moment(86_400_000, "Date"), b"1"),
    ],
)
def test_keys(key, written):
    """A text as it is, anything else as JSON."""
    assert written == write_key(key)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None),
        ("text", b'"text"'),
        ({"at": Moment(1_793_536_496_789)}, b'{"at":1793536496789}'),
        ({"at": Moment(1_793_491_200_000, "Date")}, b'{"at":20758}'),
        ({"at": Moment(45_296_789, "Time")}, b'{"at":45296789}'),
    ],
)
def test_times_are_numbers(value, written):
    """As Connect's JsonConverter writes them with a schema: days, or milliseconds."""
    assert written == write_value(value)


@pytest.mark.parametrize("value", [{"a": object()}, {"a": float("inf"), "b": 2**70}, {1, 2}])
def test_no_json(value):
    """What a transform of somebody else may return."""
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        write_value(value)
