"""Asks a worker what it thinks of a connector in a file."""

from typing import Any

from connector.cli.connectors.client import Client
from connector.cli.connectors.files import Unreadable, Wanted
from connector.cli.connectors.setup import say


def validated(client: Client, wanted: Wanted) -> dict[str, Any]:
    """
    Return the worker's answer on a configuration; nothing is created.

    Raises:
        Unreadable: the file names no class.
        Failed: the worker has no such class.
    """
    kind = wanted.config.get("connector.class", "")
    if not kind.strip():
        raise Unreadable(f"{wanted.path} has no connector.class.")
    found: dict[str, Any] = client.send(
        "PUT", "connector-plugins", kind.strip(), "config", "validate", body=dict(wanted.config)
    )
    return found


def warn(client: Client, wanted: Wanted) -> None:
    """Say the warnings of a configuration that was accepted."""
    for sentence in validated(client, wanted).get("warnings", []):
        say(sentence)
