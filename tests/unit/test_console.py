import io
import unicodedata

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.console import Console, line_of
from connector.records import SourceRecord
from tests.unit.fakes import MADE_MS, key_of, post

TIME = "2026-11-01T12:34:56.789Z"


def record(value, number=0):
    return SourceRecord(key_of(number), value if isinstance(value, bytes) else orjson.dumps(value), MADE_MS + number)


def line_with(text, username="flock", **data):
    users = [{"id": "42", "username": username, "name": "Flock"}] if username else []
    return record({"data": {"id": "1", "text": text, "author_id": "42"} | data, "includes": {"users": users}})


def test_time_author_and_text():
    """One line a post: when it was made, by whom, what it says."""
    assert f"{TIME}  @flock  Starlings at dusk" == line_of(line_with("Starlings at dusk"))


AUTHORS = [
    # a user whose name was not asked for
    ("", "42"),
    ("flock", "@flock"),
]


@pytest.mark.parametrize(("username", "shown"), AUTHORS)
def test_author(username, shown):
    """The author's name, or the id where the name is unknown."""
    assert f"{TIME}  {shown}  x" == line_of(line_with("x", username))


def test_no_author_and_no_includes():
    """A post without author is shown with a dash."""
    assert f"{TIME}  -  x" == line_of(record({"data": {"id": "1", "text": "x"}}))


def test_long_post_is_shown_whole():
    """What X cuts in `text` is in the note."""
    assert line_of(line_with("Star…", note_tweet={"text": "Starlings, all of it"})).endswith("Starlings, all of it")


ODD = [
    {"data": {"id": "1", "text": None}},
    {"data": {"id": "1", "text": 7}},
    {"data": {"id": "1"}, "includes": {"users": None}},
    {"data": {"id": "1"}, "includes": {"users": [{"id": 7}]}},
    b'{"data":{"id":"1","text":"\xff"}}',
    b'{"data":{"id":"1","text":"\\ud800"}}',
]


@pytest.mark.parametrize("value", ODD)
def test_unusual_shape_is_shown_by_its_id(value):
    """A post that we cannot read is printed by its id; it is delivered all the same."""
    assert f"{TIME}  post {key_of(0).decode()}" == line_of(record(value))


HOSTILE = [
    "a\nb",
    "a\r\nb",
    "a\u2028b",
    "a\x85b",
    "a\vb",
    "a\fb",
    "a\x00b",
    # would clear the screen, set the title, ring the bell
    "a\x1b[2Jb",
    "a\x1b]0;title\x07b",
    "a\x9b2Jb",
    # would turn the direction of what follows
    "a\u202eb",
    "a\u2066b",
    "a\u200fb",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_cannot_break_the_line_or_steer_the_terminal(text):
    """Line ends, control characters, escape sequences and turns of direction become spaces."""
    line = line_of(line_with(text))

    assert line.isprintable()
    assert 1 == len(line.splitlines())


def test_name_cannot_steer_the_terminal():
    """What is printed of an author is as harmless as the text."""
    assert line_of(line_with("x", "flo\x1b[31mck\n")).isprintable()


def test_emoji_stay():
    """Emoji and all other letters are printed as they are."""
    assert line_of(line_with("\U0001f426 ✈️ naïve 鳥")).endswith("\U0001f426 ✈️ naïve 鳥")


@given(st.text())
def test_any_text_is_one_harmless_line(text):
    """No text of a post brings more than one line, or anything but printable characters."""
    line = line_of(line_with(text.encode("utf-8", "replace").decode()))

    assert line.isprintable()
    assert not {unicodedata.category(character) for character in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


async def test_batch_is_one_write():
    """The lines of a batch are written together, each with its end."""
    writes = []

    class Out(io.StringIO):
        def write(self, text):
            writes.append(text)
            return super().write(text)

    assert await Console(Out()).show([record(post(1), 1), record(post(2), 2)])
    (text,) = writes
    assert ["2026-11-01T12:34:56.790Z  -  post 1", "2026-11-01T12:34:56.791Z  -  post 2"] == text.splitlines()


async def test_nothing_to_show():
    """A batch without posts writes nothing."""
    out = io.StringIO()

    assert await Console(out).show([])
    assert "" == out.getvalue()


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(5, "Input/output error")])
async def test_nobody_reads_any_more(error):
    """`worker | head`, or a terminal that is gone: printing ends, and nothing else."""

    class Gone(io.StringIO):
        def flush(self):
            raise error

    assert not await Console(Gone()).show([record(post(1))])


async def test_closed_output():
    """A closed standard output ends printing likewise."""
    out = io.StringIO()
    out.close()

    assert not await Console(out).show([record(post(1))])


async def test_terminal_that_knows_ascii_only():
    """What the terminal cannot show is a question mark there, and no error."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")

    assert await Console(out).show([line_with("na\u00efve \U0001f426")])
    assert f"{TIME}  @flock  na?ve ?\n".encode() == raw.getvalue()


async def test_standard_output_is_the_default(capsys):
    """Posts go to standard output, where a pipe finds them."""
    await Console().show([record(post(1))])

    assert "post 1" in capsys.readouterr().out
