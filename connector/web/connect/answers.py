"""The JSON bodies of Connect's REST API: their fields and types, for the code and for /openapi.json."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta, Struct

from connector.config.framework import Width
from connector.config.options import Importance, Kind

Config = dict[str, str]
Scalar = str | int | float | bool | None
"""What clients give an option: numbers and booleans become strings, and null stands for an option that is not given."""

ConnectorState = Literal["UNASSIGNED", "RUNNING", "PAUSED", "STOPPED", "FAILED", "RESTARTING"]
TaskState = Literal["UNASSIGNED", "RUNNING", "PAUSED", "FAILED", "RESTARTING"]
Level = Literal["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]


def in_any_case(*words: str) -> str:
    """Return the pattern of *words*, in upper or lower case; JSON schemas have no flag for that."""
    return f"^({'|'.join(''.join(f'[{letter}{letter.lower()}]' for letter in word) for word in words)})$"


class Error(TypedDict):
    """Why a request was not carried out; *error_code* is the HTTP status."""

    error_code: int
    message: str


class ServerInfo(TypedDict):
    """*version* is the version of Connect's REST API that is served, *commit* this software's own version."""

    version: str
    commit: str
    kafka_cluster_id: str | None


class Health(TypedDict):
    status: Literal["healthy", "starting", "unhealthy"]
    message: str


class Message(TypedDict):
    message: str


class TaskName(TypedDict):
    connector: str
    task: int


class ConnectorInfo(TypedDict):
    """A connector; *warnings* are sentences about its configuration, in the answers of requests that set it."""

    name: str
    config: Config
    tasks: list[TaskName]
    type: Literal["source"]
    warnings: NotRequired[list[str]]


class TaskInfo(TypedDict):
    id: TaskName
    config: Config


class ConnectorStatus(TypedDict):
    state: ConnectorState
    worker_id: str
    version: NotRequired[str | None]
    trace: NotRequired[str]


class TaskStatus(TypedDict):
    id: int
    state: TaskState
    worker_id: str
    version: NotRequired[str | None]
    trace: NotRequired[str]
    detail: NotRequired[str]


class Status(TypedDict):
    name: str
    connector: ConnectorStatus
    tasks: list[TaskStatus]
    type: Literal["source"]


class Expanded(TypedDict):
    info: NotRequired[ConnectorInfo]
    status: NotRequired[Status]


class Topics(TypedDict):
    topics: list[str]


class PartitionOffset(TypedDict):
    """The offset of one source partition; a null *offset* in a request removes it."""

    partition: dict[str, Any]
    offset: dict[str, Any] | None


class Offsets(TypedDict):
    offsets: list[PartitionOffset]


class AlterOffsets(Struct, forbid_unknown_fields=True):
    offsets: Annotated[list[PartitionOffset], Meta(min_length=1)]


class FirstOffset(TypedDict):
    """The offset of one source partition from which a new connector begins."""

    partition: dict[str, Any]
    offset: dict[str, Any]


class CreateConnector(Struct, forbid_unknown_fields=True):
    """*name* may have spaces around it; *initial_state* is RUNNING if it is not given."""

    name: str
    config: dict[str, Scalar]
    initial_state: Annotated[str, Meta(pattern=in_any_case("RUNNING", "PAUSED", "STOPPED"))] | None = None
    initial_offsets: list[FirstOffset] | None = None


PluginKind = Literal["source", "sink", "transformation", "predicate", "converter", "header_converter"]
PluginInfo = TypedDict(
    "PluginInfo", {"class": str, "type": PluginKind, "version": str}
)  # `class` is no attribute's name


class Definition(TypedDict):
    """What an option is; *order* (Kafka 3.9) and *order_in_group* (Kafka 4) are the same, -1 outside of a group."""

    name: str
    type: Kind
    required: bool
    default_value: str | None
    importance: Importance
    documentation: str
    group: str | None
    order: int
    order_in_group: int
    width: Width
    display_name: str
    dependents: list[str]


class Value(TypedDict):
    """What a configuration gives an option; null if the text is no value, `[hidden]` for a secret."""

    name: str
    value: str | None
    recommended_values: list[str]
    errors: list[str]
    visible: bool


class Validated(TypedDict):
    definition: Definition
    value: Value


class Validation(TypedDict):
    """What is wrong with a configuration; *warnings* are sentences about what has no effect."""

    name: str
    error_count: int
    groups: list[str]
    configs: list[Validated]
    warnings: list[str]


class Logger(TypedDict):
    """*last_modified* is when the level was changed by a request, in milliseconds since 1970; null if it was not."""

    level: Level
    last_modified: int | None


class SetLevel(TypedDict):
    """WARNING and CRITICAL stand for WARN and FATAL."""

    level: Annotated[
        str, Meta(pattern=in_any_case("TRACE", "DEBUG", "INFO", "WARN", "WARNING", "ERROR", "FATAL", "CRITICAL"))
    ]
