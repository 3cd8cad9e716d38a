import asyncio
import os
import re
import subprocess
import sys
import unicodedata

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connector.records.record import Records, SourceRecord
from connector.task import console
from connector.task.console import Console, line_of
from connector.telemetry.events.task import PrintEnded, PrintSkipped, PrintStalled
from tests.unit.fakes import MADE_MS, fill, key_of, post, until

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
]


@pytest.mark.parametrize("value", ODD)
def test_unusual_shape_is_shown_by_its_id(value):
    """A post that we cannot read is printed by its id; it is delivered all the same."""
    assert f"{TIME}  post {key_of(0).decode()}" == line_of(record(value))


@pytest.mark.parametrize("rest", [b"", b',"x":' + b"[" * 1_500 + b"]" * 1_500])
def test_what_parsers_refuse_is_shown(rest):
    """Half of a surrogate pair is shown as U+FFFD, and a thousand levels beside the text hide nothing."""
    value = rb'{"data":{"id":"1","text":"cut \ud83d","author_id":"42"%b},%b}'
    users = b'"includes":{"users":[{"id":"42","username":"flock"}]}'

    assert f"{TIME}  @flock  cut \ufffd" == line_of(record(value % (rest, users)))


def test_what_is_no_json_at_all_is_shown_by_its_id():
    """A console never ends the delivery, whatever it is given."""
    for value in (b"", b"{", b"[" * 100_000, b'{"data":' * 100_000):
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
@example("\u200c\u200d")
def test_any_text_is_one_harmless_line(text):
    """No text of a post brings more than one line, or anything but printable characters and joiners of emoji."""
    line = line_of(line_with(text.encode("utf-8", "replace").decode()))
    line = line.replace("\u200c", "").replace("\u200d", "")

    assert line.isprintable()
    assert not {unicodedata.category(character) for character in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


# -- printing


class Printing:
    """A console on a real file descriptor, and what it tells."""

    def __init__(self, out, **bounds):
        self.events = []
        self.console = Console(out, self.events.append, **bounds)

    def said(self, *kinds):
        return [event for event in self.events if isinstance(event, kinds)]

    @property
    def skipped(self):
        return sum(event.posts for event in self.said(PrintSkipped))


def batch(*numbers):
    return Records.of([record(post(number), number) for number in numbers])


def lines_of(*numbers):
    return "".join(f"{line_of(one)}\n" for one in batch(*numbers))


@pytest.fixture
def pipe():
    """A pipe whose writing end is a text file, as standard output is, and whose reading end is bytes."""
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as reader, open(writing, "w", encoding="utf-8") as writer:  # noqa: PTH123
        yield reader, writer


async def test_batch_is_printed(tmp_path):
    """The lines of a batch are written together, each with its end."""
    with (tmp_path / "out").open("w", encoding="utf-8") as out:
        printing = Printing(out)
        printing.console.show(batch(1, 2))
        printing.console.show(Records())
        printing.console.show(batch(3))
        await printing.console.printed(30)

    assert lines_of(1, 2, 3) == (tmp_path / "out").read_text()
    assert [] == printing.events


async def test_stalled_terminal(pipe):
    """
    Nobody reads: showing never waits, what finds no room is counted, and it is said once.

    What waits is bounded; once somebody reads again, it comes in whole lines, and printing goes on.
    """
    reader, writer = pipe
    filled = fill(writer.fileno())
    printing = Printing(writer, max_waiting_bytes=4_000)
    shown = 0
    while printing.skipped < 500:
        printing.console.show(batch(*range(shown, shown + 100)))
        shown += 100
        await asyncio.sleep(0)
        assert printing.console._waiting_bytes <= max(4_000, sum(map(len, batch(*range(100, 200)).values)) * 2)
    await printing.console.printed(0.05)
    (stalled,) = printing.said(PrintStalled)
    assert "nobody reads standard output" in stalled.reason
    assert printing.console._batches
    text = b""
    while text.count(b"\n") < filled + shown - printing.skipped:
        text += await asyncio.to_thread(reader.read, 65_536)
    await printing.console.printed(30)
    skipped = printing.skipped
    printing.console.show(batch(1, 2))
    text = text[filled:] + await asyncio.to_thread(reader.read, 65_536)

    assert text.endswith(lines_of(1, 2).encode())
    assert shown - skipped + 2 == len(text.splitlines())
    assert all(re.fullmatch(rb"2026-\S+  -  post \d+", line) for line in text.splitlines())
    assert skipped == printing.skipped


async def test_stall_is_said_again_after_a_minute(pipe, monkeypatch):
    """With the posts since then, as long as it lasts."""
    monkeypatch.setattr(console, "SAY_SECS", 0.0)
    _, writer = pipe
    fill(writer.fileno())
    printing = Printing(writer, max_waiting_bytes=1)
    while len(printing.said(PrintStalled)) < 3:
        printing.console.show(batch(*range(1_000)))
        await asyncio.sleep(0.001)

    assert printing.skipped == sum(event.posts for event in printing.said(PrintStalled))


async def test_pipe_that_blocks_nobody(pipe):
    """A shell may have left standard output non-blocking: a full pipe is waited for, and nothing is lost."""
    reader, writer = pipe
    os.set_blocking(writer.fileno(), False)
    printing = Printing(writer)
    numbers = range(8_000)
    printing.console.show(batch(*numbers))
    text = b""
    while text.count(b"\n") < len(numbers):
        text += await asyncio.to_thread(reader.read, 4_096)

    assert lines_of(*numbers).encode() == text
    assert [] == printing.events


async def test_nobody_reads_any_more(pipe):
    """`worker | head`: printing ends, said once, and what is shown later costs nothing."""
    reader, writer = pipe
    reader.close()
    printing = Printing(writer)
    for number in range(3):
        printing.console.show(batch(number))
    await until(lambda: printing.said(PrintEnded))
    printing.console.show(batch(4))
    await printing.console.printed(30)

    (ended,) = printing.said(PrintEnded)
    assert "Broken pipe" in ended.reason
    assert printing.skipped >= 1
    assert not printing.console._batches


@pytest.mark.parametrize("closed", ["none", "file", "descriptor"])
async def test_closed_output(closed, pipe):
    """A standard output that is closed, as with `>&-`, ends printing likewise: that was a FAILED task."""
    _, writer = pipe
    if closed == "file":
        writer.close()
    elif closed == "descriptor":
        os.dup2(os.open(os.devnull, os.O_RDONLY), writer.fileno())
    printing = Printing(None if closed == "none" else writer)
    printing.console.show(batch(1))
    await until(lambda: printing.said(PrintEnded))

    (ended,) = printing.said(PrintEnded)
    assert ("Bad file descriptor" if closed == "descriptor" else "it is closed") in ended.reason


async def test_full_disk():
    """A disk that is full costs lines, said with its reason, and may have room again: printing goes on."""
    with open("/dev/full", "w", encoding="utf-8") as out:  # noqa: ASYNC230, PTH123
        printing = Printing(out)
        for number in range(3):
            printing.console.show(batch(number))
            await printing.console.printed(30)
        await until(lambda: 3 == printing.skipped)

    (stalled,) = printing.said(PrintStalled)
    assert "No space left on device" in stalled.reason
    assert [] == printing.said(PrintEnded)


async def test_error_of_our_own_ends_printing_alone(pipe, monkeypatch):
    """Whatever goes wrong with a line is told, and is no reason to stop the delivery."""
    monkeypatch.setattr(console, "line_of", lambda _: {}["line"])
    printing = Printing(pipe[1])
    printing.console.show(batch(1))
    await until(lambda: printing.said(PrintEnded))

    assert "KeyError" in printing.said(PrintEnded)[0].reason


async def test_deep_post_is_shown_by_its_id():
    """A post that is nested deeper than Python goes is printed by its id."""
    value = b'{"data":{"id":"1","x":' + b"[" * 5_000 + b"]" * 5_000 + b',"text":"a"}}'

    assert line_of(record(value)) in {f"{TIME}  post {key_of(0).decode()}", f"{TIME}  -  a"}


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", "na?ve ?"), ("latin-1", "na\u00efve ?")])
async def test_terminal_that_does_not_know_all_letters(tmp_path, encoding, shown):
    """What the terminal cannot show (`PYTHONIOENCODING=ascii`) is a question mark there, and no error."""
    with (tmp_path / "out").open("w", encoding=encoding) as out:
        printing = Printing(out)
        printing.console.show(Records.of([line_with("na\u00efve \U0001f426")]))
        await printing.console.printed(30)

    assert f"{TIME}  @flock  {shown}\n".encode(encoding) == (tmp_path / "out").read_bytes()


PROCESS = """
import asyncio, sys
from connector.task.console import Console
from connector.records.record import Records, SourceRecord

async def main():
    console = Console(sys.stdout, lambda event: print(type(event).__name__, file=sys.stderr))
    for _ in range(200):
        console.show(Records.of([SourceRecord(b"1", b'{"data":{"id":"1","text":"x"}}' + b" " * 500, 0)] * 100))
        await asyncio.sleep(0.001)
    await console.printed(0.1)

asyncio.run(main())
"""


def test_stalled_terminal_does_not_hold_up_the_exit():
    """A process whose standard output nobody reads ends by itself with 0, with no complaint of the interpreter."""
    reading, writing = os.pipe()
    try:
        command = [sys.executable, "-c", PROCESS]
        with subprocess.Popen(command, stdout=writing, stderr=subprocess.PIPE) as process:  # noqa: S603
            try:
                _, errors = process.communicate(timeout=60)
            finally:
                process.kill()
    finally:
        os.close(reading)
        os.close(writing)

    assert 0 == process.returncode
    assert {b"PrintSkipped", b"PrintStalled"} == set(errors.split())
    assert 1 == errors.count(b"PrintStalled")
