"""The brokers' addresses, and the login."""

import ssl
from dataclasses import dataclass, field
from typing import Any

import faust
from faust.types.auth import CredentialsT

from connector.config.secret import Secret
from connector.config.worker import WorkerSettings
from connector.kafka.login.oauth import ClientCredentials
from connector.kafka.login.tls import TlsContext


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaCluster:
    """The brokers for the first connection (`host:port`), and the login; the `repr` holds no secret."""

    servers: tuple[str, ...]
    security_protocol: str = "PLAINTEXT"
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False)
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = field(default=None, repr=False)
    sasl_password: str | None = field(default=None, repr=False)
    tokens: ClientCredentials | None = field(default=None, repr=False)
    client_id: str = "murmuration"

    @property
    def user(self) -> str | None:
        """The user name of the login; None if only Kafka knows the user, as with a certificate."""
        return self.sasl_username if self.security_protocol.startswith("SASL") else None

    def options(self) -> dict[str, Any]:
        """Return the arguments that every aiokafka client takes."""
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.servers),
            "client_id": self.client_id,
            "security_protocol": self.security_protocol,
            "ssl_context": self.ssl_context,
        }
        if self.security_protocol.startswith("SASL"):
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password,
                "sasl_oauth_token_provider": self.tokens,
            }
        return options

    def credentials(self) -> CredentialsT | None:
        """Return the same login in Faust's terms, or None for a broker that asks for none."""
        if self.security_protocol == "SSL":
            return faust.SSLCredentials(self.ssl_context)
        if self.security_protocol.startswith("SASL") and self.tokens is not None:
            return faust.OAuthCredentials(oauth_cb=self.tokens, ssl_context=self.ssl_context)
        if self.security_protocol.startswith("SASL"):
            return faust.SASLCredentials(
                username=self.sasl_username,
                password=self.sasl_password,
                mechanism=self.sasl_mechanism,
                ssl_context=self.ssl_context,
            )
        return None


def cluster_of(settings: WorkerSettings) -> KafkaCluster:
    """Return the brokers and the login that a worker's *settings* name."""
    context = None
    if settings.kafka_security_protocol.endswith("SSL"):
        context = TlsContext.of(
            settings.kafka_ssl_ca_file,
            settings.kafka_ssl_cert_file,
            settings.kafka_ssl_key_file,
            _secret(settings.kafka_ssl_key_password),
        )
    return KafkaCluster(
        servers=settings.bootstrap_servers,
        security_protocol=settings.kafka_security_protocol,
        ssl_context=context,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_username=settings.kafka_sasl_username,
        sasl_password=_secret(settings.kafka_sasl_password),
        tokens=_tokens(settings),
        client_id=settings.broker_client_id,
    )


def _tokens(settings: WorkerSettings) -> ClientCredentials | None:
    if not settings.kafka_security_protocol.startswith("SASL") or settings.kafka_sasl_mechanism != "OAUTHBEARER":
        return None
    return ClientCredentials(
        settings.kafka_oauth_token_url or "",
        settings.kafka_oauth_client_id or "",
        _secret(settings.kafka_oauth_client_secret) or "",
        scope=settings.kafka_oauth_scope,
        extensions=dict(extension.split("=", 1) for extension in settings.kafka_oauth_extensions),
        ca=settings.kafka_ssl_ca_file,
    )


def _secret(value: Secret | None) -> str | None:
    return None if value is None else value.reveal()
