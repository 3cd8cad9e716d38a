"""
Checks whether this host reaches the addresses that the brokers advertise.

The first connection goes to the address in the configuration, all others to the `advertised.listeners` of a broker.  If
only the brokers' own network knows that name, the first connect succeeds and everything after it fails; aiokafka's
errors then say no more than `node id 1`.
"""

import asyncio
from typing import Any

CONNECT_SECS = 3.0


async def unreachable(client: Any) -> str | None:
    """Return a message on those brokers known to *client*, an aiokafka client, that cannot be reached; None if none."""
    found = [
        f"broker {broker.nodeId} as {broker.host}:{broker.port}, {problem}"
        for broker in client.cluster.brokers()
        if (problem := await _problem(broker.host, broker.port))
    ]
    if not found:
        return None
    return (
        f"Kafka advertises its {'; '.join(found)}. Set advertised.listeners of the broker to an address that this host "
        "reaches, or make that one reachable from here"
    )


async def _problem(host: str, port: int) -> str | None:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_SECS):
            await loop.getaddrinfo(host, port)
    except OSError as exc:
        return f"and {host} does not resolve here ({_words(exc)})"
    except UnicodeError:
        return f"and {host} is no name of a host"
    try:
        async with asyncio.timeout(CONNECT_SECS):
            _, writer = await asyncio.open_connection(host, port)
    except OSError as exc:  # TimeoutError is one
        return f"where nobody answers ({_words(exc)})"
    writer.close()
    return None


def _words(exc: OSError) -> str:
    if isinstance(exc, TimeoutError):
        return f"no answer within {CONNECT_SECS:.0f} s"
    return exc.strerror or type(exc).__name__
