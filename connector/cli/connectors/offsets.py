"""Source offsets of a connector: shown, set by a file, or removed."""

import json
import sys
from pathlib import Path

from connector.cli.connectors import shown
from connector.cli.connectors.files import FILE_BYTES_MAX, Unreadable
from connector.cli.connectors.setup import Setup, confirm

FILE_HELP = 'Set offsets by a file as --json prints them: {"offsets": [{"partition", "offset"}]}; null removes one.'
STDIN = "-"


def show(setup: Setup, name: str) -> None:
    """Print the offsets of connector *name*."""
    found = setup.client.get("connectors", name, "offsets")
    setup.answer(found, lambda: shown.show_offsets(found["offsets"], setup.console))


def replace(setup: Setup, name: str, file: Path) -> None:
    """
    Set the offsets of the stopped connector *name* to those in *file*.

    Raises:
        Unreadable: the file holds no JSON.
    """
    _tell(setup, setup.client.send("PATCH", "connectors", name, "offsets", body=_json_in(file)))


def reset(setup: Setup, name: str, *, yes: bool) -> None:
    """Remove all offsets of the stopped connector *name*; ask first, unless *yes*."""
    confirm(f"Remove all offsets of {name}? Coverage and gaps are forgotten.", yes=yes)
    _tell(setup, setup.client.send("DELETE", "connectors", name, "offsets"))


def _tell(setup: Setup, answer: dict[str, str]) -> None:
    setup.answer(answer, lambda: setup.console.print(answer["message"], markup=False))


def _json_in(path: Path) -> object:
    try:
        with sys.stdin.buffer if str(path) == STDIN else path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise Unreadable(f"{path} has more than {FILE_BYTES_MAX} bytes, which no offsets have.")
        return json.loads(content)
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{path} is no JSON: {error}.") from None
