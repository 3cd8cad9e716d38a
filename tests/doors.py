"""
A broker with several listeners ("doors"), each with a security of its own.

    LockedBroker(folder, {"TLS": Door("SSL"), "SP": Door("SASL_PLAINTEXT", mechanisms=("PLAIN",))})

The first listener, PLAINTEXT at the broker's own port, is always open: it is where the broker talks to itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from tests.brokers import KafkaBroker, free_port

SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
_MODULES = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "OAUTHBEARER": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule",
}


@dataclass(frozen=True, slots=True)
class Door:
    """A listener with this *protocol*; *settings* are those of the listener alone (`ssl.client.auth`)."""

    protocol: str
    mechanisms: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


class LockedBroker(KafkaBroker):
    """A broker with doors; `port_of` knows where each is."""

    def __init__(
        self,
        folder: Path,
        doors: Mapping[str, Door],
        *,
        users: Mapping[str, str] = MappingProxyType({}),
        properties: Mapping[str, str] = MappingProxyType({}),
        store: Path | None = None,
        trusted: Path | None = None,
        classes: Path | None = None,
    ) -> None:
        port, controller = free_port(), free_port()
        self.ports = {name: free_port() for name in doors}
        listeners = ["PLAINTEXT://127.0.0.1:" + str(port)]
        listeners += [f"{name}://127.0.0.1:{self.ports[name]}" for name in doors]
        protocols = ["CONTROLLER:PLAINTEXT", "PLAINTEXT:PLAINTEXT"]
        protocols += [f"{name}:{door.protocol}" for name, door in doors.items()]
        stated = {
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": ",".join([*listeners, f"CONTROLLER://127.0.0.1:{controller}"]),
            "advertised.listeners": ",".join(listeners),
            "listener.security.protocol.map": ",".join(protocols),
            "inter.broker.listener.name": "PLAINTEXT",
            "num.network.threads": "1",
        }
        if store is not None:
            stated |= {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(store)}
        if trusted is not None:
            stated |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(trusted)}
        for name, door in doors.items():
            stated |= _listener(name.lower(), door, users)
        scram = any(mechanism in SCRAM for door in doors.values() for mechanism in door.mechanisms)
        super().__init__(
            folder,
            port,
            properties=stated | properties,
            format_arguments=_scram_users(users) if scram else (),
            classes=classes,
        )

    def listening(self) -> Sequence[int]:
        """Return the open listener's port and those of all doors: where one can't be had, the broker ends."""
        return (self.port, *self.ports.values())

    def port_of(self, door: str) -> int:
        return self.ports[door]

    def url_of(self, door: str) -> str:
        """As CONNECTOR_BROKER_URL has it."""
        return f"kafka://127.0.0.1:{self.ports[door]}"


def _listener(name: str, door: Door, users: Mapping[str, str]) -> dict[str, str]:
    prefix = f"listener.name.{name}."
    stated = {prefix + setting: value for setting, value in door.settings.items()}
    if door.mechanisms:
        stated[prefix + "sasl.enabled.mechanisms"] = ",".join(door.mechanisms)
    for mechanism in door.mechanisms:
        login = ""
        if mechanism == "PLAIN":
            login = "".join(f' user_{user}="{password}"' for user, password in users.items())
        elif mechanism == "OAUTHBEARER":
            login = ' unsecuredLoginStringClaim_sub="broker"'
        module = _MODULES["SCRAM" if mechanism in SCRAM else mechanism]
        stated[f"{prefix}{mechanism.lower()}.sasl.jaas.config"] = f"{module} required{login};"
    return stated


def _scram_users(users: Mapping[str, str]) -> Sequence[str]:
    arguments: list[str] = []
    for user, password in users.items():
        for mechanism in SCRAM:
            arguments += ["-S", f"{mechanism}=[name={user},password={password}]"]
    return arguments
