"""
A connector in a file.

    .json         the body of `POST /connectors`, or a flat map with `name`, as connect-standalone takes them
    .properties   Java properties with `name`, as connect-standalone takes them
    .toml         the same as JSON; a table inside a table is a name with dots, `rules` may be a list of tables
"""

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connector.config.options import Unfit, read_text, shown
from connector.config.properties import parse_properties

FILE_BYTES_MAX = 4 * 1024 * 1024
FILES_MAX = 10_000
SUFFIXES = (".json", ".properties", ".toml")

_BODY = frozenset({"name", "config", "initial_state", "initial_offsets"})


class Unreadable(Exception):
    """Files that hold no connectors; each of *problems* is a sentence that names its file."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A connector as a file has it; *first* are the fields of `POST /connectors` that count for a new one only."""

    name: str
    config: Mapping[str, str] = field(repr=False)
    path: Path
    first: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """The body of `POST /connectors`."""
        return {"name": self.name, "config": dict(self.config), **self.first}


def read(path: Path) -> Wanted:
    """
    Return the connector in the file *path*.

    Raises:
        Unreadable: the file cannot be read, or holds no connector.
    """
    try:
        return _wanted(_content(path), path)
    except Unfit as unfit:
        raise Unreadable(*(f"{path} {rest.removeprefix(f'names {path}, which ')}" for rest in unfit.rests)) from None
    except RecursionError:
        raise Unreadable(f"{path} has tables that are nested too deeply.") from None


def read_folder(folder: Path) -> list[Wanted]:
    """
    Return the connectors in the files of *folder*, by name; folders in it and files of other kinds are left out.

    Raises:
        Unreadable: there is no such folder, a file holds no connector, or two hold the same; all problems at once.
    """
    try:
        paths = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
        )
    except OSError as error:
        raise Unreadable(f"{folder} cannot be read: {error.strerror}.") from None
    if len(paths) > FILES_MAX:
        raise Unreadable(f"{folder} has {len(paths)} files: at most {FILES_MAX} are read.")
    found: dict[str, Wanted] = {}
    problems: list[str] = []
    for path in paths:
        try:
            wanted = read(path)
        except Unreadable as unreadable:
            problems += unreadable.problems
            continue
        other = found.setdefault(wanted.name, wanted)
        if other is not wanted:
            problems.append(f"{path} and {other.path} both hold the connector {shown(wanted.name)}: keep one of them.")
    if problems:
        raise Unreadable(*problems)
    return [found[name] for name in sorted(found)]


def _content(path: Path) -> Mapping[str, Any]:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise Unfit("ends neither in .json nor in .properties or .toml.")
    text = read_text(str(path), limit=FILE_BYTES_MAX)
    try:
        match suffix:
            case ".json":
                found = json.loads(text)
            case ".toml":
                found = tomllib.loads(text)
            case _:
                found = parse_properties(text)
    except (ValueError, RecursionError) as error:
        raise Unfit(f"is no {suffix[1:]}: {_reason(error)}.") from None
    if not isinstance(found, dict):
        raise Unfit('must hold an object such as {"name": "birds", "config": {...}}.')
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _wanted(found: Mapping[str, Any], path: Path) -> Wanted:
    whole = isinstance(found.get("config"), dict)
    if whole and (unknown := sorted(found.keys() - _BODY)):
        raise Unfit(f"has {shown(unknown[0])} beside config: known are name, config, initial_state, initial_offsets.")
    config = dict(_flat(found["config"] if whole else found))
    name = found.get("name", config.get("name")) if whole else config.get("name")
    if not isinstance(name, str) or not name.strip():
        raise Unfit("names no connector: give it a name.")
    name = name.strip()
    if config.setdefault("name", name) != name:
        raise Unfit(f"has two names, {shown(name)} and {shown(config['name'])}: keep one of them.")
    first = {key: found[key] for key in ("initial_state", "initial_offsets") if whole and found.get(key) is not None}
    try:
        json.dumps(first)
    except TypeError:  # a date of TOML
        raise Unfit("has a value beside config that is no text, number or list: write it in quotes.") from None
    return Wanted(name=name, config=config, path=path, first=first)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        name = f"{prefix}{key}"
        match value:
            case None:  # as for Connect, an option that is not given
                continue
            case bool():
                yield name, "true" if value else "false"
            case str() | int() | float():
                yield name, str(value)
            case dict():
                yield from _flat(value, f"{name}.")
            case list():
                yield name, _listed(value, name)
            case _:  # a date of TOML
                raise Unfit(f"has a value of {shown(name)} that is no text, number or list: write it in quotes.")


def _listed(value: list[Any], name: str) -> str:
    if value and all(isinstance(item, dict) for item in value):
        return json.dumps(value, ensure_ascii=False, default=str)
    if not all(isinstance(item, str | int | float) for item in value):
        raise Unfit(f"has a list {shown(name)} of other things than texts and numbers: write it as one text.")
    return ",".join(_plain(value))


def _plain(items: Iterable[object]) -> Iterator[str]:
    return ("true" if item is True else "false" if item is False else str(item) for item in items)
