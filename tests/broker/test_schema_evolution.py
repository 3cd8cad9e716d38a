"""A real registry takes each released version of the schema under `FULL_TRANSITIVE`, what may follow, and no other."""

import urllib.error
from dataclasses import replace

import pytest

from connector.formats.post.declaration import POST, VERSION
from connector.formats.post.model import Field, Scalar
from tests.registries import Registry
from tests.unit.formats.test_schemas import ADDED, released, texts, with_fields

pytestmark = pytest.mark.broker

TYPES = {"avsc": "AVRO", "schema.json": "JSON", "proto": "PROTOBUF"}
CONFLICT = 409


@pytest.fixture
def register(registry: Registry, fresh: str):
    """Register a text under a subject that asks for full compatibility; return the HTTP status of a refusal, or 200."""

    def ask(ending: str, text: str) -> int:
        subject = f"{fresh}-{ending}-value"
        registry.ask(f"/config/{subject}", {"compatibility": "FULL_TRANSITIVE"}, "PUT")
        try:
            registry.ask(f"/subjects/{subject}/versions", {"schemaType": TYPES[ending], "schema": text})
        except urllib.error.HTTPError as error:
            return error.code
        return 200

    return ask


@pytest.mark.parametrize("ending", TYPES)
def test_released_versions_and_what_may_follow(register, ending: str) -> None:
    """All versions in their order, then one with new fields of each kind, and one more."""
    for version in range(1, VERSION + 1):
        assert 200 == register(ending, released(version)[ending])
    later = POST
    for number, field in enumerate(ADDED):
        fresh_field = replace(field, name=f"added_{number}", number=60 + number)
        for record in ("Post", "User"):
            later = with_fields(later, record, lambda fields, field=fresh_field: (*fields, field))
        assert 200 == register(ending, texts(later)[ending])


BREAKING = {
    "avsc": lambda fields: (*fields, Field("added", 60, Scalar.STRING, "Required.", since=VERSION + 1)),
    "schema.json": lambda fields: (replace(fields[0], type=Scalar.LONG), *fields[1:]),
    "proto": lambda fields: (replace(fields[0], type=Scalar.LONG), *fields[1:]),
}


@pytest.mark.parametrize("ending", TYPES)
def test_what_breaks_a_reader_is_refused(register, ending: str) -> None:
    """So that the test above can fail."""
    assert 200 == register(ending, texts(POST)[ending])
    assert CONFLICT == register(ending, texts(with_fields(POST, "Post", BREAKING[ending]))[ending])
