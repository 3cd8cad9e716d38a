"""
The classes that this worker knows, by the names that a configuration may give them: connectors, and parts of Connect.

Kafka Connect knows a class by its full name, by its simple name, and by that without the suffix `Connector`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson

from connector import __version__
from connector.config.framework import BYTES_CONVERTER, HEADER_CONVERTER, JSON_CONVERTER, STRING_CONVERTER
from connector.config.migration import CLASSES
from connector.config.options import Declared, Option, Problem, boolean, choice, declared, text, whole

SUFFIX = "Connector"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is wrong with a configuration (*problems*, whole sentences by option) and what is worth a warning."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """
    One connector class.

    *name* is its full name.  *options* are its own options by name, in their order.  *check* looks at a whole
    configuration as this worker would use it, references resolved; what Connect's framework checks has been checked.
    *check_offset* raises ValueError, with a sentence, for a source partition or an offset that the connector cannot
    have.  *brought* returns the options that a configuration itself brings along, such as those of its transforms.
    *stream_of* returns what connectors that share a stream have in common, `""` if that is not known; it gets the name,
    the configuration, and whose environment declares it.  *tasks* returns how many tasks a configuration has, *task_of*
    which of so many reads a source partition.  *altered*
    returns the offset to store, given the stored one (None if there is none) and the one that somebody wants; it raises
    ValueError, with a sentence, for one that cannot be.
    """

    name: str
    version: str = __version__
    options: Mapping[str, Declared]
    check: Callable[[Mapping[str, str]], Verdict]
    check_offset: Callable[[Mapping[str, Any], Mapping[str, Any]], None]
    brought: Callable[[Mapping[str, str]], Mapping[str, Declared]] = lambda _: {}
    tasks: Callable[[Mapping[str, str]], int] = lambda _: 1
    stream_of: Callable[[str, Mapping[str, str], str | None], str] = lambda _name, _config, _declared_by: ""
    task_of: Callable[[Mapping[str, str], Mapping[str, Any], int], int] = lambda _config, _partition, _count: 0
    altered: Callable[[bytes | None, Mapping[str, Any]], bytes] = lambda _, wanted: orjson.dumps(wanted)

    @property
    def names(self) -> tuple[str, ...]:
        """All names under which the class may be asked for."""
        return _names(self.name)


PartKind = Literal["transformation", "predicate", "converter", "header_converter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A class that is no connector: what a configuration may name for a step on the way of a record."""

    name: str
    kind: PartKind
    options: Mapping[str, Declared]
    version: str = __version__

    @property
    def names(self) -> tuple[str, ...]:
        """All names under which the class may be asked for."""
        return _names(self.name)


_JSON_IS_PLAIN = "Here a value is written as X sent it, so this has no effect."


@dataclass(frozen=True, slots=True, kw_only=True)
class _JsonConverter:
    """The options of Kafka Connect's class of this name, so that forms made for it fit."""

    converter_type: Annotated[str, Option(text(), "", "Whether it writes keys or values.", "LOW")]
    schemas_enable: Annotated[
        bool,
        Option(
            boolean(),
            "Schemas",
            "Whether each value is a post with its schema beside it (`value.shape=connect`). Keys have none.",
            "HIGH",
        ),
    ] = False
    schemas_cache_size: Annotated[int, Option(whole(minimum=0), "Schemas", _JSON_IS_PLAIN, "HIGH")] = 1000
    schema_content: Annotated[str | None, Option(text(), "Schemas", _JSON_IS_PLAIN, "HIGH")] = None
    decimal_format: Annotated[
        Literal["BASE64", "NUMERIC"], Option(choice("BASE64", "NUMERIC"), "Serialization", _JSON_IS_PLAIN, "LOW")
    ] = "BASE64"
    replace_null_with_default: Annotated[bool, Option(boolean(), "Serialization", _JSON_IS_PLAIN, "LOW")] = True


CONVERTERS = (
    Part(name=JSON_CONVERTER, kind="converter", options=declared(_JsonConverter, ".")),
    Part(name=STRING_CONVERTER, kind="converter", options={}),
    Part(name=BYTES_CONVERTER, kind="converter", options={}),
    Part(name=HEADER_CONVERTER, kind="header_converter", options={}),
    Part(name=STRING_CONVERTER, kind="header_converter", options={}),
    Part(name=BYTES_CONVERTER, kind="header_converter", options={}),
)
"""The converters whose names a configuration may have, as they write what a connector here writes anyway."""


class Plugins:
    """The classes of this worker: connectors, and *parts*."""

    def __init__(self, plugins: Iterable[Plugin], parts: Iterable[Part] = CONVERTERS) -> None:
        self._plugins, self.parts = tuple(plugins), tuple(parts)

    def __iter__(self) -> Iterator[Plugin]:
        return iter(self._plugins)

    def find(self, name: str) -> Plugin | None:
        """Return the connector class with *name*, in any form, or the one that replaces *name*; None without one."""
        name = CLASSES.get(name, name)
        return next((plugin for plugin in self._plugins if name in plugin.names), None)

    def part(self, name: str) -> Part | None:
        """Return the class with *name* that is no connector; None if there is none."""
        return next((part for part in self.parts if name in part.names), None)


def _names(name: str) -> tuple[str, ...]:
    simple = name.rpartition(".")[2]
    return tuple(dict.fromkeys((name, simple, simple.removesuffix(SUFFIX))))
