"""
What Kafka Connect's framework checks of a connector's configuration, in Connect's own sentences.

Clients show these sentences, and some look for parts of them.
"""

import re
from collections.abc import Iterator, Mapping

from connector.config.framework import (
    FRAMEWORK,
    JSON_CONVERTER,
    NAME,
    OVERRIDE,
    SCHEMA_CONVERTERS,
    FrameworkOption,
    framework_of,
)
from connector.config.options import INT_MAX, LONG_MAX, Declared, shown

SHOWN_CHARACTERS_MAX = 100

_TOPIC_CREATION = "topic.creation."
_CREATION_REQUIRED = ("topic.creation.default.replication.factor", "topic.creation.default.partitions")
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")
_ACKS = ("all", "-1")
_KEY_SCHEMAS, _VALUE_SCHEMAS = "key.converter.schemas.enable", "value.converter.schemas.enable"
_NOT_EXACTLY_ONCE = "The connector does not support exactly-once semantics with the provided configuration."


def missing(option: str) -> str:
    """Return Connect's sentence on an option that is required and not set."""
    return f'Missing required configuration "{option}" which has no default value.'


def wrong(value: str | None, option: str, reason: str) -> str:
    """Return Connect's sentence on an option whose value is wrong; *value* is cut after 100 characters."""
    text = "null" if value is None else value[:SHOWN_CHARACTERS_MAX]
    return f"Invalid value {text} for configuration {option}: {reason}"


def errors_in(config: Mapping[str, str], declared: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """
    Yield the name of each option that Connect's framework finds wrong in *config*, with Connect's sentence.

    *declared* has the connector's own options: what the framework requires of topic creation is optional if the
    connector declares it.
    """
    for option in FRAMEWORK.values():
        text = config.get(option.name)
        if text is None:
            if option.required:
                yield option.name, missing(option.name)
            continue
        yield from ((option.name, sentence) for sentence in _errors(option, text))
    creates = any(text and name.startswith(_TOPIC_CREATION) for name, text in config.items())
    if creates and not declared.keys() >= set(_CREATION_REQUIRED):
        yield from ((name, missing(name)) for name in _CREATION_REQUIRED if name not in config)
    if config.get("exactly.once.support") == "required" and config.get("delivery") == "at_least_once":
        yield "exactly.once.support", _NOT_EXACTLY_ONCE
    acks = config.get(f"{OVERRIDE}acks")
    if acks is not None and acks not in _ACKS:
        yield f"{OVERRIDE}acks", wrong(acks, f"{OVERRIDE}acks", f"String must be one of: {', '.join(_ACKS)}")
    for name in (_KEY_SCHEMAS, _VALUE_SCHEMAS):
        text = config.get(name, "false").strip()
        if text.lower() not in {"true", "false"}:
            yield name, wrong(text, name, "Expected value to be either true or false")


def value_of(option: FrameworkOption, text: str | None) -> str | None:
    """Return the value of *option* as Connect shows it: the default without a *text*, None if *text* is no value."""
    if text is None:
        return option.default
    unreadable = option.kind in {"INT", "LONG", "BOOLEAN"} and not _readable(option, text.strip())
    return None if unreadable or (option.kind == "CLASS" and text not in option.choices) else text


def warnings_in(config: Mapping[str, str], declared: Mapping[str, Declared]) -> Iterator[str]:
    """Yield a sentence for each option that asks for something else than what a class with *declared* does."""
    for option in framework_of(declared):
        text = config.get(option.name)
        if text is not None and option.fixed is not None and text.strip().lower() not in option.fixed:
            yield f"{option.name}={shown(text)} has no effect: {option.because}."
    for name in config:
        if name.startswith(OVERRIDE) and name != f"{OVERRIDE}acks":
            yield f"{shown(name)} has no effect: the worker chooses the settings of its producers."
    if config.get("value.converter") == JSON_CONVERTER and not config.keys() & {_VALUE_SCHEMAS, "value.shape"}:
        yield f"{_VALUE_SCHEMAS} is false here, unlike in Kafka Connect: true writes a schema beside each post."


def _errors(option: FrameworkOption, text: str) -> Iterator[str]:
    if option.name == NAME:
        yield from (wrong(text, NAME, reason) for reason in _name_errors(text))
    elif option.kind in {"INT", "LONG", "BOOLEAN"}:
        yield from _number_errors(option, text.strip())
    elif option.kind == "CLASS" and text in SCHEMA_CONVERTERS and text not in option.choices:
        yield wrong(text, option.name, f"Only values have a schema here: use {option.default}.")
    elif option.kind == "CLASS" and text not in option.choices:
        yield wrong(text, option.name, f"Class {text[:SHOWN_CHARACTERS_MAX]} could not be found.")
    elif option.choices and text not in option.choices:
        yield wrong(text, option.name, f"String must be one of: {', '.join(option.choices)}")


def _number_errors(option: FrameworkOption, text: str) -> Iterator[str]:
    if not _readable(option, text):
        boolean = option.kind == "BOOLEAN"
        yield wrong(
            text,
            option.name,
            "Expected value to be either true or false" if boolean else f"Not a number of type {option.kind}",
        )
        if option.minimum is not None:
            yield wrong(None, option.name, "Value must be non-null")
    elif option.minimum is not None and int(text) < option.minimum:
        yield wrong(text, option.name, f"Value must be at least {option.minimum}")


def _readable(option: FrameworkOption, text: str) -> bool:
    if option.kind == "BOOLEAN":
        return text.lower() in {"true", "false"}
    most = INT_MAX if option.kind == "INT" else LONG_MAX
    return _WHOLE.fullmatch(text) is not None and -most - 1 <= int(text) <= most


def _name_errors(name: str) -> Iterator[str]:
    controls = [str(ord(char)) for char in name if ord(char) < 32 or 127 <= ord(char) < 160]  # noqa: PLR2004  # as in Java
    if not name.strip():
        yield "String may not be empty"
    elif controls:
        yield (
            f"String may not contain control sequences but had the following ASCII chars: {', '.join(controls[:10])}"
        )
    elif "/" in name or name in {".", ".."}:
        yield "String may not contain a slash, and not be . or .., as it is part of URLs"
