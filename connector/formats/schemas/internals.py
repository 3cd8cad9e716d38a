"""
The private name of confluent-kafka that the schema formats use; no other module of `formats` uses private names.

| name | seen in | for |
|---|---|---|
| `AsyncSchemaRegistryClient._rest_client.session` | confluent-kafka 2.16.1 | `session_of` |
"""

from importlib.metadata import version

import httpx2
from confluent_kafka.schema_registry import AsyncSchemaRegistryClient

from connector.errors import ConfigError


def session_of(client: AsyncSchemaRegistryClient) -> httpx2.AsyncClient:
    """
    Return what sends the requests of *client*: Confluent's has no public way to bound an answer.

    Raises:
        ConfigError: this version of the library has it elsewhere.
    """
    session = getattr(getattr(client, "_rest_client", None), "session", None)
    if not isinstance(session, httpx2.AsyncClient):
        known = version("confluent-kafka")
        wrong = f"Answers to confluent-kafka {known} cannot be bounded: install one that the extra `schema` names."
        raise ConfigError([wrong])
    return session
