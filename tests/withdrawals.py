"""What tests of withdrawn posts share: posts at the simulator, and what a reader of the topic finds of them."""

from collections.abc import Collection

from connector.simulator import SimulatorThread
from tests import topics
from tests.brokers import Broker


def emit(simulator: SimulatorThread, count: int, author: str = "lena") -> list[str]:
    return [simulator.emit_post(f"a starling {number} #murmuration", author=author) for number in range(count)]


def delete(simulator: SimulatorThread, posts: Collection[str]) -> None:
    def act() -> None:
        for post in posts:
            simulator.simulator.delete_post(post)

    simulator.call(act)


def lying(broker: Broker, topic: str) -> dict[str, list[bool]]:
    """For each key in its order in the topic: whether the record has a value."""
    found: dict[str, list[bool]] = {}
    for record in sorted(topics.read(broker, topic), key=lambda each: (each.partition, each.offset)):
        found.setdefault(record.key.decode(), []).append(record.value is not None)
    return found


def withdrawn(broker: Broker, topic: str) -> set[str]:
    return {key for key, values in lying(broker, topic).items() if not values[-1]}
