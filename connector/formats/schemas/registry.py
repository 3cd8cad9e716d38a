"""What the formats need of a schema registry, and how a configuration says where it is; `confluent` asks it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from connector.config.connector import Compatibility, ConnectorConfig
from connector.formats.schemas.writer import Schema

ANSWER_SECS = 5.0
"""The longest time in which a registry has to accept a connection, and to send the next bytes of its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """Where a registry is, who asks, and what for."""

    urls: tuple[str, ...]
    login: str | None
    token: str | None
    authorities: Path | None
    certificate: Path | None
    key: Path | None
    key_password: str | None
    auto_register: bool
    use_latest: bool
    normalize: bool
    compatibility: Compatibility | None

    def __repr__(self) -> str:
        return f"RegistrySettings(urls={self.urls})"

    @property
    def client(self) -> dict[str, Any]:
        """The properties of Confluent's client; the token is not among them."""
        given: dict[str, Any] = {
            "url": ",".join(self.urls),
            "timeout": ANSWER_SECS,
            "max.retries": 0,
            "basic.auth.user.info": self.login,
            "ssl.ca.location": None if self.authorities is None else str(self.authorities),
            "ssl.certificate.location": None if self.certificate is None else str(self.certificate),
            "ssl.key.location": None if self.key is None else str(self.key),
            "ssl.key.password": self.key_password,
        }
        return {name: value for name, value in given.items() if value is not None}


def registry_settings_of(config: ConnectorConfig) -> RegistrySettings:
    """Return how a connector talks to its registry."""
    secrets = (config.schema_registry_login, config.schema_registry_token, config.schema_registry_key_password)
    login, token, key_password = (None if secret is None else secret.reveal() for secret in secrets)
    return RegistrySettings(
        urls=config.schema_registry_url,
        login=login,
        token=token,
        authorities=config.schema_registry_authorities,
        certificate=config.schema_registry_certificate,
        key=config.schema_registry_key,
        key_password=key_password,
        auto_register=config.auto_register_schemas,
        use_latest=config.use_latest_version,
        normalize=config.normalize_schemas,
        compatibility=config.schema_compatibility,
    )


@dataclass(frozen=True, slots=True)
class Registered:
    """The *id* of a schema; *text* is the schema if it may be another than the one that was asked for."""

    id: int
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """
    What a registry has of a subject: the *latest* version with its *type*, if any, and its *level* of compatibility,
    None if this login may not read it.

    *own* is the id of the schema that was asked about, if the subject has it; if not, *takes* says whether the registry
    would take it as the next version.
    """

    level: str | None
    latest: Registered | None = None
    type: str = ""
    own: int | None = None
    takes: bool = True


class Registry(Protocol):
    """A schema registry, as `SchemaIds` needs it."""

    async def find(self, subject: str, schema: Schema) -> Registered:
        """
        Return the id with which values of *subject* are written by *schema*; register it if that is configured.

        Raises:
            RegistryAway: no answer, or one that says to come again.
            SchemaRefused: a person has to act; the message holds the registry's words.
        """

    async def close(self) -> None:
        """Close its connections."""
