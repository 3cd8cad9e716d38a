"""
`print=true`: each delivered post on the console, one line a post: time, author, text.

Lines go to standard output in one write each batch; the log goes to standard error.
"""

import asyncio
import sys
from typing import TextIO

import msgspec

from connector.records import Records, SourceRecord
from connector.snowflake import to_iso

_BREAKS = str.maketrans({"\n": " ", "\r": " ", "\t": " ", "\u2028": " ", "\u2029": " ", "\x85": " ", "\x1b": " "})
"""What would break the line, or steer the terminal."""

_JOINERS = "\u200c\u200d"
"""What holds emoji and Persian words together."""


class _User(msgspec.Struct):
    id: str = ""
    username: str = ""


class _Includes(msgspec.Struct):
    users: list[_User] = []


class _Note(msgspec.Struct):
    text: str = ""


class _Data(msgspec.Struct):
    text: str = ""
    author_id: str = ""
    note_tweet: _Note | None = None


class _Line(msgspec.Struct):
    data: _Data
    includes: _Includes | None = None


_decode = msgspec.json.Decoder(_Line).decode


def line_of(record: SourceRecord) -> str:
    """Return the console line of *record*; a post in an unusual shape is shown by its id."""
    made = to_iso(record.timestamp_ms)
    try:
        line = _decode(record.value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"{made}  post {record.key.decode()}"
    users = line.includes.users if line.includes else []
    names = {user.id: f"@{user.username}" for user in users if user.username}
    author = names.get(line.data.author_id) or line.data.author_id or "-"
    text = line.data.note_tweet.text if line.data.note_tweet and line.data.note_tweet.text else line.data.text
    cleaned = "".join(c if c.isprintable() or c in _JOINERS else " " for c in f"{author}  {text}".translate(_BREAKS))
    return f"{made}  {cleaned}"


class Console:
    """Prints posts to *out*, off the event loop: a terminal may be slow."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out

    async def show(self, records: Records) -> bool:
        """Print *records*; return False once nobody reads any more (`worker | head`)."""
        return await asyncio.to_thread(self._print, records) if records else True

    def _print(self, records: Records) -> bool:
        out = self._out or sys.stdout
        text = "".join(f"{line_of(record)}\n" for record in records)
        try:
            out.write(text.encode(out.encoding or "utf-8", "replace").decode(out.encoding or "utf-8"))
            out.flush()
        except (OSError, ValueError):  # the pipe or the terminal is gone, or the file is closed
            return False
        return True
