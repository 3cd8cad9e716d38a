"""
The options that Kafka Connect gives every source connector, and what this worker makes of each.

Clients of Connect send them, and build forms from their definitions.  An option that changes nothing here is accepted;
a value that asks for something else than what this worker does brings a warning.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from connector import __version__
from connector.config.options import Declared, Importance, Kind

Width = Literal["NONE", "SHORT", "MEDIUM", "LONG"]

JSON_CONVERTER = "org.apache.kafka.connect.json.JsonConverter"
STRING_CONVERTER = "org.apache.kafka.connect.storage.StringConverter"
BYTES_CONVERTER = "org.apache.kafka.connect.converters.ByteArrayConverter"
HEADER_CONVERTER = "org.apache.kafka.connect.storage.SimpleHeaderConverter"
CONVERTERS = (JSON_CONVERTER, STRING_CONVERTER, BYTES_CONVERTER)
"""With each of them, a value is JSON, the line of X unless `value.shape` says otherwise, and a key its text."""
AVRO_CONVERTER = "io.confluent.connect.avro.AvroConverter"
JSON_SCHEMA_CONVERTER = "io.confluent.connect.json.JsonSchemaConverter"
PROTOBUF_CONVERTER = "io.confluent.connect.protobuf.ProtobufConverter"
SCHEMA_CONVERTERS: Mapping[str, str] = {
    AVRO_CONVERTER: "avro",
    JSON_SCHEMA_CONVERTER: "json_schema",
    PROTOBUF_CONVERTER: "protobuf",
}
"""Confluent's converters, and the `value.format` that means the same."""

NAME = "name"
CLASS = "connector.class"
OVERRIDE = "producer.override."
FAMILIES = ("transforms.", "predicates.", OVERRIDE, "key.converter.", "value.converter.", "header.converter.")
"""Prefixes of options whose names the configuration itself makes up, or which belong to a part of Connect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameworkOption:
    """
    One option of Connect's framework.

    With *fixed*, the option has no effect: *fixed* are the values that say what happens anyway, *because* ends the
    sentence of the warning for other values.
    """

    name: str
    kind: Kind
    default: str | None
    importance: Importance
    group: str
    order: int
    width: Width
    title: str
    documentation: str
    required: bool = False
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    fixed: tuple[str, ...] | None = None
    because: str = ""

    @property
    def recommended(self) -> tuple[str, ...]:
        """Values that a form may offer."""
        return self.choices or (self.fixed if self.kind == "STRING" and self.fixed else ())


_NO_OTHER_VERSION = "this worker has one version of each class"
_NO_RETRY = "a task tries again by the rules of this connector, see docs/operations.md"
_ERRORS_LOGGED = "records that are set aside are counted, and kept in the dead letter topic"
_ONE_WAY = "`delivery` says how posts are delivered"


def _version(name: str, order: int, title: str, importance: Importance = "LOW") -> FrameworkOption:
    return FrameworkOption(
        name=f"{name}.plugin.version",
        kind="STRING",
        default=__version__,
        importance=importance,
        group="Common",
        order=order,
        width="MEDIUM" if importance == "MEDIUM" else "SHORT",
        title=f"{title} version",
        documentation=f"Version of the {title.lower()}. There is one version of it.",
        fixed=(__version__,),
        because=_NO_OTHER_VERSION,
    )


def _converter(part: str, order: int, default: str, choices: tuple[str, ...], documentation: str) -> FrameworkOption:
    return FrameworkOption(
        name=f"{part}.converter",
        kind="CLASS",
        default=default,
        importance="LOW",
        group="Common",
        order=order,
        width="SHORT",
        title=f"{part.capitalize()} converter class",
        documentation=documentation,
        choices=choices,
    )


def _about_errors(
    name: str, order: int, kind: Kind, default: str, title: str, documentation: str, because: str
) -> FrameworkOption:
    return FrameworkOption(
        name=f"errors.{name}",
        kind=kind,
        default=default,
        importance="MEDIUM",
        group="Error Handling",
        order=order,
        width="SHORT" if kind == "BOOLEAN" else "MEDIUM",
        title=title,
        documentation=documentation,
        fixed=(default,),
        because=because,
    )


_OPTIONS = (
    FrameworkOption(
        name=NAME,
        kind="STRING",
        default=None,
        required=True,
        importance="HIGH",
        group="Common",
        order=1,
        width="MEDIUM",
        title="Connector name",
        documentation="Name of the connector, unique in the group of workers.",
    ),
    FrameworkOption(
        name=CLASS,
        kind="STRING",
        default=None,
        required=True,
        importance="HIGH",
        group="Common",
        order=2,
        width="LONG",
        title="Connector class",
        documentation="Class of the connector: its full name, its simple name, or that without the suffix `Connector`.",
    ),
    _version("connector", 3, "Connector", "MEDIUM"),
    FrameworkOption(
        name="tasks.max",
        kind="INT",
        default="1",
        minimum=1,
        importance="HIGH",
        group="Common",
        order=4,
        width="SHORT",
        title="Tasks max",
        documentation="Most tasks of the connector.",
    ),
    FrameworkOption(
        name="tasks.max.enforce",
        kind="BOOLEAN",
        default="true",
        importance="LOW",
        group="Common",
        order=5,
        width="SHORT",
        title="Enforce tasks max",
        documentation="Whether `tasks.max` is a limit. Here it always is.",
        fixed=("true",),
        because="tasks.max is always a limit",
    ),
    _converter("key", 6, STRING_CONVERTER, CONVERTERS, "How a key is written: the id of the post, as text."),
    _version("key.converter", 7, "Key converter"),
    _converter(
        "value",
        8,
        JSON_CONVERTER,
        (*CONVERTERS, *SCHEMA_CONVERTERS),
        "How a value is written: as JSON, with `schemas.enable` a schema beside it, or with a schema in a registry.",
    ),
    _version("value.converter", 9, "Value converter"),
    _converter(
        "header",
        10,
        HEADER_CONVERTER,
        (HEADER_CONVERTER, STRING_CONVERTER, BYTES_CONVERTER),
        "How the value of a header is written: as text.",
    ),
    _version("header.converter", 11, "Header converter"),
    FrameworkOption(
        name="transforms",
        kind="LIST",
        default="",
        importance="LOW",
        group="Transforms",
        order=12,
        width="LONG",
        title="Transforms",
        documentation="Aliases of the transforms that records pass, in their order.",
    ),
    FrameworkOption(
        name="predicates",
        kind="LIST",
        default="",
        importance="LOW",
        group="Predicates",
        order=13,
        width="LONG",
        title="Predicates",
        documentation="Aliases of the predicates that transforms use.",
    ),
    FrameworkOption(
        name="config.action.reload",
        kind="STRING",
        default="restart",
        importance="LOW",
        group="Common",
        order=14,
        width="MEDIUM",
        title="Reload action",
        documentation="What a change of a referenced secret does. Here a secret is read when a task starts.",
        choices=("none", "restart"),
        fixed=("none", "restart"),
    ),
    _about_errors(
        "retry.timeout",
        1,
        "LONG",
        "0",
        "Retry timeout for errors",
        "Milliseconds for which a failed operation is tried again.",
        _NO_RETRY,
    ),
    _about_errors(
        "retry.delay.max.ms",
        2,
        "LONG",
        "60000",
        "Maximum delay between retries for errors",
        "Most milliseconds between two tries of a failed operation.",
        _NO_RETRY,
    ),
    FrameworkOption(
        name="errors.tolerance",
        kind="STRING",
        default="none",
        importance="MEDIUM",
        group="Error Handling",
        order=3,
        width="SHORT",
        title="Error tolerance",
        documentation="What a bad record does: `none` fails the task, `all` sets the record aside.",
        choices=("none", "all"),
    ),
    _about_errors(
        "log.enable",
        4,
        "BOOLEAN",
        "false",
        "Log errors",
        "Whether each record that is set aside is logged.",
        _ERRORS_LOGGED,
    ),
    _about_errors(
        "log.include.messages",
        5,
        "BOOLEAN",
        "false",
        "Log error details",
        "Whether the log shows the content of such a record. Here no log line holds that of a post.",
        _ERRORS_LOGGED,
    ),
    FrameworkOption(
        name="topic.creation.groups",
        kind="LIST",
        default="",
        importance="LOW",
        group="Topic Creation",
        order=1,
        width="LONG",
        title="Topic creation groups",
        documentation="Groups of topics that are created with settings of their own.",
        fixed=("", "default"),
        because="only the group `default` is used",
    ),
    FrameworkOption(
        name="exactly.once.support",
        kind="STRING",
        default="requested",
        importance="MEDIUM",
        group="Exactly Once Support",
        order=2,
        width="SHORT",
        title="Exactly once support",
        documentation="Whether the connector must deliver exactly once: `required` refuses `delivery=at_least_once`.",
        choices=("requested", "required"),
    ),
    FrameworkOption(
        name="transaction.boundary",
        kind="STRING",
        default="poll",
        importance="MEDIUM",
        group="Exactly Once Support",
        order=3,
        width="SHORT",
        title="Transaction boundary",
        documentation="What a transaction holds: here what one turn of the task has read.",
        choices=("poll", "interval", "connector"),
        fixed=("poll",),
        because="each batch is a transaction",
    ),
    FrameworkOption(
        name="transaction.boundary.interval.ms",
        kind="LONG",
        default=None,
        minimum=0,
        importance="LOW",
        group="Exactly Once Support",
        order=4,
        width="SHORT",
        title="Transaction boundary interval",
        documentation="Milliseconds between commits with `transaction.boundary=interval`, which does not exist here.",
        fixed=(),
        because="each batch is a transaction",
    ),
    FrameworkOption(
        name="offsets.storage.topic",
        kind="STRING",
        default=None,
        importance="LOW",
        group="offsets.topic",
        order=1,
        width="LONG",
        title="Offsets topic",
        documentation="A topic for the offsets of this connector alone.",
        fixed=(),
        because="all offsets of a group are in one topic",
    ),
)

FRAMEWORK: Mapping[str, FrameworkOption] = {option.name: option for option in _OPTIONS}


def framework_of(declared: Mapping[str, Declared]) -> Iterator[FrameworkOption]:
    """
    Yield the framework's options as they are for a class with the options *declared*.

    One that the class declares as well has an effect, and the default and documentation of the class.
    """
    for option in FRAMEWORK.values():
        own = declared.get(option.name)
        if own is None or option.required:
            yield option
        else:
            yield replace(option, default=own.default_text or "", documentation=own.documentation, fixed=None)
