import asyncio
from types import SimpleNamespace

from connector.kafka.gate.advertised import unreachable
from tests.brokers import free_port


def client(*addresses):
    nodes = [SimpleNamespace(nodeId=number, host=host, port=port) for number, (host, port) in enumerate(addresses)]
    return SimpleNamespace(cluster=SimpleNamespace(brokers=lambda: nodes))


async def test_brokers_that_can_be_reached_are_no_problem():
    """Nor is a cluster of which nothing was heard."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        there = server.sockets[0].getsockname()[:2]

        assert await unreachable(client(there)) is None
        assert await unreachable(client()) is None


async def test_those_that_cannot_are_named():
    """With host, port, why, and the setting of the broker."""
    port = free_port()
    said = await unreachable(client(("127.0.0.1", port), ("broker.invalid", 9092), ("a" * 70 + ".x", 9092)))

    assert said.startswith(f"Kafka advertises its broker 0 as 127.0.0.1:{port}, where nobody answers (")
    assert "broker 1 as broker.invalid:9092, and broker.invalid does not resolve here (" in said
    assert "and " + "a" * 70 + ".x is no name of a host" in said
    assert "advertised.listeners" in said
