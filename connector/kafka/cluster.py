"""Where is Kafka, and how does one log in?"""

import ssl
from dataclasses import dataclass, field
from typing import Any

import faust
from faust.types.auth import CredentialsT

from connector.settings import WorkerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaCluster:
    """The brokers to begin with (`host:port`), and the login; its `repr` holds no secret."""

    servers: tuple[str, ...]
    security_protocol: str = "PLAINTEXT"
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False)
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = field(default=None, repr=False)
    sasl_password: str | None = field(default=None, repr=False)

    @property
    def user(self) -> str | None:
        """The name under which Kafka knows us; None where only Kafka knows it, as of a certificate."""
        return self.sasl_username if self.security_protocol.startswith("SASL") else None

    def options(self) -> dict[str, Any]:
        """Return the arguments that every aiokafka client takes."""
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.servers),
            "security_protocol": self.security_protocol,
            "ssl_context": self.ssl_context,
        }
        if self.security_protocol.startswith("SASL"):
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password,
            }
        return options

    def credentials(self) -> CredentialsT | None:
        """Return the same login in Faust's terms, or None for a broker that asks for none."""
        if self.security_protocol == "SSL":
            return faust.SSLCredentials(self.ssl_context)
        if self.security_protocol.startswith("SASL"):
            return faust.SASLCredentials(
                username=self.sasl_username,
                password=self.sasl_password,
                mechanism=self.sasl_mechanism,
                ssl_context=self.ssl_context,
            )
        return None


def cluster_of(settings: WorkerSettings) -> KafkaCluster:
    """Return what a worker's *settings* say of Kafka."""
    context = None
    if settings.kafka_security_protocol.endswith("SSL"):
        ca, cert, key = settings.kafka_ssl_ca_file, settings.kafka_ssl_cert_file, settings.kafka_ssl_key_file
        context = ssl.create_default_context(cafile=ca)
        if cert is not None:
            context.load_cert_chain(cert, key)
    password = settings.kafka_sasl_password
    return KafkaCluster(
        servers=settings.bootstrap_servers,
        security_protocol=settings.kafka_security_protocol,
        ssl_context=context,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_username=settings.kafka_sasl_username,
        sasl_password=None if password is None else password.get_secret_value(),
    )
