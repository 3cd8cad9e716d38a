"""
Kafka Connect's sentences for requests that are refused; its clients look for some of them word by word.

Each function returns the refusal to raise.
"""

from collections.abc import Collection, Mapping, Sequence

from connector.cluster.refused import Conflicting, NotFound, Refused
from connector.config.options import HIDDEN

SHOWN_OPTIONS_MAX = 20
SHOWN_CHARACTERS_MAX = 100


def no_connector(name: str) -> NotFound:
    """Return the refusal to read, change or delete a connector that does not exist."""
    return NotFound(f"Connector {name} not found")


def no_connector_to_move(name: str) -> NotFound:
    """Return the refusal to pause, resume or stop a connector that does not exist."""
    return NotFound(f"Unknown connector {name}")


def no_connector_to_restart(name: str) -> NotFound:
    return NotFound(f"Unknown connector: {name}")


def no_task_to_restart(name: str, number: int) -> NotFound:
    return NotFound(f"Unknown task: {name}-{number}")


def no_status(name: str) -> NotFound:
    return NotFound(f"No status found for connector {name}")


def no_task_status(name: str, number: int) -> NotFound:
    return NotFound(f"No status found for task {name}-{number}")


def exists(name: str) -> Conflicting:
    return Conflicting(f"Connector {name} already exists")


def stale() -> Conflicting:
    """Return the refusal of a change that another change of the same connector overtook."""
    return Conflicting(
        "Cannot complete request momentarily due to stale configuration"
        " (typically caused by a concurrent config change)"
    )


def names_differ(configured: str, asked: str) -> Refused:
    return Refused(f"Connector name configuration ({configured}) doesn't match connector name in the URL ({asked})")


def too_many_options(count: int, most: int) -> Refused:
    return Refused(f"The configuration has {count} options: use at most {most}")


def no_class(config: Mapping[str, str], harmless: Collection[str], cure: str = "") -> Refused:
    """
    Return the refusal of a configuration without a class; *cure* ends the sentence.

    Only options in *harmless* are shown with their value.
    """
    shown = [f"{name}={_cut(text) if name in harmless else HIDDEN}" for name, text in config.items()]
    more = ["..."] if len(shown) > SHOWN_OPTIONS_MAX else []
    options = ", ".join(shown[:SHOWN_OPTIONS_MAX] + more)
    return Refused(f"Connector config {{{options}}} contains no connector type{cure}")


def no_such_class(name: str, available: Sequence[str]) -> Refused:
    return Refused(
        f"Failed to find any class that implements Connector and which name matches {_cut(name)}, available connectors"
        f" are: {', '.join(available)}"
    )


def other_class(configured: str, asked: str) -> Refused:
    return Refused(f"Included connector type {_cut(configured)} does not match request type {_cut(asked)}")


def invalid(errors: Sequence[str]) -> Refused:
    """Return the refusal of a configuration with *errors*."""
    lines = "\n".join(errors)
    return Refused(
        f"Connector configuration is invalid and contains the following {len(errors)} error(s):\n{lines}\n"
        "You can also find the above list of errors at the endpoint"
        " `/connector-plugins/{connectorType}/config/validate`"
    )


def not_stopped(name: str) -> Refused:
    """Return the refusal to change the offsets of a connector that is not STOPPED."""
    return Refused(
        "Connectors must be in the STOPPED state before their offsets can be modified. This can be done for the"
        f" specified connector by issuing a 'PUT' request to the '/connectors/{name}/stop' endpoint"
    )


def no_offsets() -> Refused:
    return Refused("Partitions / offsets need to be provided for an alter offsets request")


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[:SHOWN_CHARACTERS_MAX] + "…"
