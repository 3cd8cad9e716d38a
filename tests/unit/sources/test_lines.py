from itertools import pairwise, zip_longest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.sources.stream.lines import LineSplitter, LineTooLong, is_error, is_whole, sort
from tests.unit.hostile import POSTS

POST = '{"data":{"id":"1","text":"caf\u00e9 \u9ce5"}}'.encode()
ERROR = b'{"errors":[{"title":"operational-disconnect"}]}'

# A line holds anything but the line end; a CR before it would be part of it.
contents = st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"").rstrip(b"\r"))


def cut(body, positions):
    edges = [0, *sorted(position % (len(body) + 1) for position in positions), len(body)]
    return [body[begin:end] for begin, end in pairwise(edges)]


@pytest.mark.slow
@given(
    st.lists(st.tuples(contents, st.sampled_from([b"\n", b"\r\n"])), max_size=12),
    contents,
    st.lists(st.integers(min_value=0), max_size=12),
)
def test_the_same_lines_come_out_wherever_the_pieces_are_cut(lines, rest, positions):
    """Lines do not depend on where the pieces end, and the rest is what no line end followed."""
    body = b"".join(line + end for line, end in lines) + rest
    splitter = LineSplitter(10_000)

    got = [line for piece in cut(body, positions) for line in splitter.split(piece)]

    assert [line for line, _ in lines] == got
    assert rest == splitter.rest


@given(
    st.lists(st.tuples(contents, st.sampled_from([b"\n", b"\r\n"])), max_size=12),
    contents,
    st.lists(st.tuples(st.integers(min_value=0), st.sampled_from([b"", b"4\r\n", b"\r\na;x=\n1\r\n", b"\r"]))),
    st.lists(st.integers(min_value=0), max_size=4),
)
def test_the_same_lines_come_out_of_spans(lines, rest, parts, positions):
    """What stands between the spans is never looked at, wherever spans and pieces end."""
    body = b"".join(line + end for line, end in lines) + rest
    between = [noise for _, noise in parts]
    splitter = LineSplitter(10_000)

    got = []
    for received in cut(body, positions):
        piece, spans = b"", []
        for part, noise in zip_longest(cut(received, [at for at, _ in parts]), between, fillvalue=b""):
            if part:
                spans.append((len(piece), len(piece) + len(part)))
            piece += part + noise
        got += splitter.split(piece, spans)

    assert [line for line, _ in lines] == got
    assert rest == splitter.rest


@pytest.mark.parametrize("position", range(len(POST) * 2 + 6))
def test_a_cut_at_any_byte_changes_nothing(position):
    """CR LF, keep-alives and UTF-8 sequences may be cut anywhere."""
    body = POST + b"\r\n\r\n" + POST + b"\r\n"
    splitter = LineSplitter(10_000)

    assert [POST, b"", POST] == splitter.split(body[:position]) + splitter.split(body[position:])


def test_a_line_has_a_limit():
    """An unfinished line over the limit is refused; a finished one that arrives at once is not measured."""
    splitter = LineSplitter(10)
    splitter.split(b"012345678")
    splitter.split(b"\n0123456789")

    with pytest.raises(LineTooLong):
        splitter.split(b"a")


def test_half_a_line_end_is_a_rest():
    """A CR belongs to the line end that is not there yet: nothing of a line, but something to wait for."""
    splitter = LineSplitter(10)

    assert [] == splitter.split(b"\r")
    assert (b"", True) == (splitter.rest, splitter.has_rest)
    assert [b""] == splitter.split(b"\n")
    assert not splitter.has_rest


def test_a_cr_inside_a_line_stays():
    """Only the CR right before the LF is a part of the line end."""
    assert [b"a\rb\r", b""] == LineSplitter(100).split(b"a\rb\r\r\n\n")


@pytest.mark.parametrize(
    "line",
    [
        ERROR,
        b'{"meta":{},"errors":[]}',
        b'{"data":null,"errors":[{"title":"x"}]}',
        # as in the body of an HTTP error
        b'{"title":"ConnectionException","type":"https://api.x.com/2/problems/streaming-connection"}',
    ],
)
def test_a_line_without_data_that_has_errors_is_an_error(line):
    """X ends the stream with such a line."""
    assert is_error(line)


@pytest.mark.parametrize(
    "line",
    [
        rb'{"errors":[{"detail":"cut \ud83d","title":"operational-disconnect"}]}',
        b'{"errors":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"data":null,"errors":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        rb'{"type":"https://api.x.com/2/problems/operational-disconnect","detail":"\udc00"}',
    ],
    ids=range(4),
)
def test_an_error_that_parsers_refuse_is_one(line):
    """Half of a surrogate pair, or a thousand levels, do not make a post of it."""
    assert is_error(line)
    assert not is_error(line[:-1] + b',"data":{"id":"1"}}')


@pytest.mark.parametrize(
    "line",
    [
        POST,
        b'{"data":{"id":"1"},"errors":[{"title":"Not Found Error"}]}',
        # keys in any order
        b'{"errors":[{"title":"Not Found Error"}],"matching_rules":[],"data":{"id":"1"}}',
        b'{"includes":{},"data":{"text":"\\"errors\\" in https://e.example/problems/1"}}',
        # not for us to judge
        b'no JSON, "errors"',
        b'{"type":"\xff","errors":[]}',
        b'{"errors":' + b"[" * 100_000,
        b'{"delete":{"type":1,"errors":[]}}',
        b'["errors"]',
    ],
)
def test_other_lines_go_on(line):
    """A line with data is a post, whatever else it holds; one that is no JSON is judged as a record."""
    assert not is_error(line)


def test_posts_come_before_the_error():
    """All posts that arrived with an error line are delivered."""
    assert ((POST, b"?", POST), ERROR) == sort([POST, b"", b"?", ERROR, POST, b'{"errors":[]}'])
    assert ((POST,), None) == sort([POST])


@pytest.mark.parametrize(
    ("rest", "whole"),
    [(POST, True), (POST[:-1], False), (b"", False), (b"1", False), (POST[:27], False), (b"[" * 100_000, False)]
    + [(line, True) for line in POSTS]
    + [(line[:-1], False) for line in POSTS if line.endswith(b"}")],
)
def test_only_a_complete_object_is_whole(rest, whole):
    """What is cut is never taken for a post."""
    assert whole == is_whole(rest)
