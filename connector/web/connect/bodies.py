"""
What the bodies and queries of requests to Connect's routes mean.

Lenient where Connect is: numbers and booleans in a configuration become strings, null stands for an option that is not
given, `initial_state` is read in any case, and what is not `true` in a query is false.  Whatever is wrong is a 400 that
names the field.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp.web import Request

from connector.cluster import sentences
from connector.cluster.configs import TargetState
from connector.cluster.refused import Refused
from connector.config.framework import NAME
from connector.config.options import shown
from connector.web.connect.ports import Offset, Partition

DEPTH_MAX = 32
"""How deep the JSON of a body may be nested."""

FIELDS = ("name", "config", "initial_state", "initial_offsets")


class _Number(str):
    """The text of a number in JSON, as it stands there."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """The body of `POST /connectors`."""

    name: str
    config: Mapping[str, str]
    state: TargetState
    offsets: tuple[tuple[Partition, Offset], ...]


async def json_of(request: Request) -> Any:
    """
    Return the body of *request*, in which numbers are still texts.

    Raises:
        Refused: the body is missing, is no JSON, or is nested too deeply.
    """
    body = await request.read()
    if not body.strip():
        raise Refused("The body must be a JSON object, and the request has no body")
    try:
        value = orjson.loads(body)  # strict: UTF-8, no NaN, no lone surrogates
    except orjson.JSONDecodeError as error:
        raise Refused(f"The body is not JSON: {error.msg}, at line {error.lineno}, column {error.colno}") from None
    if _depth(value) > DEPTH_MAX:
        raise Refused(f"The JSON in the body is nested more than {DEPTH_MAX} levels deep")
    return json.loads(body, parse_int=_Number, parse_float=_Number)


async def config_in(request: Request) -> dict[str, str]:
    """
    Return the configuration that is the body of *request*, without the options that are null.

    Raises:
        Refused: the body is no flat JSON object.
    """
    return given(flat(await json_of(request), "the body"))


async def changes_in(request: Request) -> dict[str, str | None]:
    """
    Return the changes of a configuration that are the body of *request*; null removes an option.

    Raises:
        Refused: the body is no flat JSON object.
    """
    return flat(await json_of(request), "the body")


async def creation_in(request: Request) -> Creation:
    """
    Return what the body of *request* wants to create.

    Raises:
        Refused: the body is wrong.
    """
    body = json_object(await json_of(request), "The body")
    for field in body:
        if field not in FIELDS:
            raise Refused(f"Unrecognized field {_quoted(field)} in the body: known are {', '.join(FIELDS)}")
    if body.get("config") is None:
        raise Refused('The field "config" is required: the configuration of the connector, as a JSON object')
    name = (_text(body.get("name"), "name") or "").strip()
    config = given(flat(body["config"], '"config"'))
    return Creation(
        name=name,
        config=named(name, config),
        state=_state(body.get("initial_state")),
        offsets=tuple((partition, offset) for partition, offset in _offsets(body, "initial_offsets") if offset),
    )


async def offsets_in(request: Request) -> list[tuple[Partition, Offset | None]]:
    """
    Return the offsets in the body of *request*; None for one that is to be removed.

    Raises:
        Refused: the body is wrong, or has no offset.
    """
    body = json_object(await json_of(request), "The body")
    for field in body:
        if field != "offsets":
            raise Refused(f"Unrecognized field {_quoted(field)} in the body: known is offsets")
    offsets = _offsets(body, "offsets")
    if not offsets:
        raise sentences.no_offsets()
    return offsets


def named(name: str, config: Mapping[str, str]) -> dict[str, str]:
    """
    Return *config* with the *name* that the URL or the body gives.

    Raises:
        Refused: the configuration has another name.
    """
    configured = config.get(NAME, name)
    if configured != name:
        raise sentences.names_differ(configured, name)
    return {NAME: name} | {**config, NAME: name}


def truth(request: Request, name: str) -> bool:
    """Return the parameter *name* of the query: whether it is `true`, in any case."""
    return request.query.get(name, "").lower() == "true"


def json_object(value: object, what: str) -> dict[str, Any]:
    """
    Return *value*, which *what* names.

    Raises:
        Refused: it is no JSON object.
    """
    if not isinstance(value, dict):
        raise Refused(f"{what} must be a JSON object, not {_kind(value)}")
    return value


def flat(value: object, where: str) -> dict[str, str | None]:
    """
    Return *value* with texts for its numbers and booleans; *where* names it in a sentence.

    Raises:
        Refused: it is no object, or something in it is no string, number, boolean or null.
    """
    what = where[0].upper() + where[1:]
    return {name: _text(each, name, where) for name, each in json_object(value, what).items()}


def given(config: Mapping[str, str | None]) -> dict[str, str]:
    """Return *config* without the options that are null."""
    return {name: text for name, text in config.items() if text is not None}


def _text(value: object, name: str, where: str = "the body") -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    raise Refused(
        f"The value of {_quoted(name)} in {where} must be a string, number, boolean or null, not {_kind(value)}"
    )


def _state(value: object) -> TargetState:
    if value is None:
        return TargetState.RUNNING
    if isinstance(value, str) and not isinstance(value, _Number) and value.upper() in list(TargetState):
        return TargetState(value.upper())
    text = shown(value) if isinstance(value, str) else _kind(value)
    raise Refused(f'"initial_state" cannot be {text}: use RUNNING, PAUSED or STOPPED')


def _offsets(body: Mapping[str, Any], field: str) -> list[tuple[Partition, Offset | None]]:
    listed = body.get(field)
    if listed is None:
        return []
    if not isinstance(listed, list):
        raise Refused(f'"{field}" must be a list of objects with "partition" and "offset", not {_kind(listed)}')
    return [_offset(each, f"{field}[{index}]", empty=field == "offsets") for index, each in enumerate(listed)]


def _offset(value: object, where: str, *, empty: bool) -> tuple[Partition, Offset | None]:
    entry = json_object(value, where)
    partition = json_object(entry.get("partition"), f"{where}.partition")
    if "offset" not in entry or (entry["offset"] is None and not empty):
        raise Refused(f"{where}.offset is required{', and null removes the offset' if empty else ''}")
    offset = None if entry["offset"] is None else json_object(entry["offset"], f"{where}.offset")
    return _numbers(partition), None if offset is None else _numbers(offset)


def _numbers(value: Any) -> Any:
    """Return *value* with numbers for the texts of numbers in it."""
    match value:
        case _Number():
            return orjson.loads(str(value))
        case dict():
            return {name: _numbers(each) for name, each in value.items()}
        case list():
            return [_numbers(each) for each in value]
        case _:
            return value


def _depth(value: object, depth: int = 1) -> int:
    """Return how deep *value* is nested, or a number beyond `DEPTH_MAX` once that is passed."""
    if depth > DEPTH_MAX or not isinstance(value, dict | list):
        return depth
    return max((_depth(each, depth + 1) for each in (value.values() if isinstance(value, dict) else value)), default=1)


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case _Number():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def _quoted(name: str) -> str:
    return f'"{name[:60]}"'
