"""The one private name of confluent-kafka."""

from types import SimpleNamespace

import pytest
from confluent_kafka.schema_registry import AsyncSchemaRegistryClient

from connector.errors import ConfigError
from connector.formats.schemas.internals import session_of


async def test_the_name_is_there():
    """The version that is installed has it."""
    client = AsyncSchemaRegistryClient({"url": "http://127.0.0.1:1"})
    session = session_of(client)
    await client.aclose()

    assert session.is_closed


@pytest.mark.parametrize("client", [SimpleNamespace(), SimpleNamespace(_rest_client=SimpleNamespace(session=None))])
def test_a_version_without_it_is_refused(client):
    """In a sentence that names the cure: an answer without a bound is worse than none."""
    with pytest.raises(ConfigError, match="install one"):
        session_of(client)
