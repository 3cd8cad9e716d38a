"""A broker that asks for rights (Kafka's StandardAuthorizer), and who gives and takes them there."""

import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from connector.kafka.rights import CLUSTER, CREATE, GROUP, TOPIC, TRANSACTIONAL_ID, Need, Right
from connector.kafka.topics import TopicSpec
from tests.doors import Door, LockedBroker

USER, PASSWORD = "alice", "alice-secret"
DOOR = "SP"
_TYPES = {
    TOPIC: ResourceType.TOPIC,
    GROUP: ResourceType.GROUP,
    TRANSACTIONAL_ID: ResourceType.TRANSACTIONAL_ID,
    CLUSTER: ResourceType.BROKER,
}


class GuardedBroker(LockedBroker):
    """Everybody at the open listener may do everything, `alice` behind the door only what was given to her."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            {DOOR: Door("SASL_PLAINTEXT", mechanisms=("PLAIN",))},
            users={USER: PASSWORD},
            properties={
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
                "allow.everyone.if.no.acl.found": "false",
                "auto.create.topics.enable": "false",
            },
        )

    @cached_property
    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.address, "log_level": "0"})  # it outlives the broker

    @property
    def login(self) -> dict[str, str]:
        """How a worker logs in as alice, as `environment` takes it."""
        return {
            "broker_url": self.url_of(DOOR),
            "kafka_security_protocol": "SASL_PLAINTEXT",
            "kafka_sasl_username": USER,
            "kafka_sasl_password": PASSWORD,
        }

    def create(self, specs: Iterable[TopicSpec]) -> None:
        """Create topics as an administrator would from the documents."""
        new = [
            NewTopic(spec.name, num_partitions=spec.partitions, replication_factor=1, config=dict(spec.settings))
            for spec in specs
        ]
        for created in self.admin.create_topics(new).values():
            created.result(30)

    def allow(self, rights: Iterable[Right]) -> None:
        """Give alice *rights*; returns once the broker knows of it."""
        bindings = {_binding(right) for right in rights}
        for given in self.admin.create_acls(list(bindings)).values():
            given.result(30)
        while not bindings <= set(self._acls()):  # the controller has answered, and the broker hears of it later
            time.sleep(0.02)

    def withdraw(self, rights: Iterable[Right]) -> None:
        """Take *rights* from alice."""
        wanted = [_filter(right) for right in rights]
        gone: set[AclBinding] = set()
        for taken in self.admin.delete_acls(wanted).values():
            gone |= set(taken.result(30))
        assert len(wanted) == len(gone)
        while gone & set(self._acls()):
            time.sleep(0.02)

    def _acls(self) -> list[AclBinding]:
        every = AclBindingFilter(
            ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
        )
        found: list[AclBinding] = self.admin.describe_acls(every).result(30)
        return found


def rights_of(needs: Sequence[Need], *, create: bool = False, useful: bool = True) -> list[Right]:
    """Return all rights of *needs*; with *create* also those to create the topics."""
    found = []
    for need in needs:
        operations = [*need.required, *(need.useful if useful else ())]
        if create and need.kind == TOPIC:
            operations.append(CREATE)
        found += [Right(operation, need.kind, need.name) for operation in operations]
    return found


def _binding(right: Right) -> AclBinding:
    return AclBinding(*_what(right), f"User:{USER}", "*", AclOperation[right.operation], AclPermissionType.ALLOW)


def _filter(right: Right) -> AclBindingFilter:
    return AclBindingFilter(*_what(right), f"User:{USER}", "*", AclOperation[right.operation], AclPermissionType.ALLOW)


def _what(right: Right) -> tuple[ResourceType, str, ResourcePatternType]:
    return _TYPES[right.kind], right.name or "kafka-cluster", ResourcePatternType.LITERAL
