"""X keeps the slot of a dead reader for a while: who ends that ghost, who does not, and how long an heir waits."""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from connector.simulator import SimulatorThread
from tests import topics
from tests.brokers import Broker
from tests.workers import SESSION_SECS, TOKEN, Worker, Workers, environment, seconds_between, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

GHOST_SECS = 60.0
TAKEOVER_SECS = 4.0
"""What a takeover may take beyond the session timeout."""

APART_SECS = 4.0
"""By the seconds in which they were opened X's connections can be told apart."""

STREAM = "/2/tweets/search/stream"


def _owner_and_heir(workers: Workers, settings: dict[str, str]) -> tuple[Worker, Worker]:
    owner = workers.start(settings).wait_ready()
    heir = workers.start(settings).wait_ready()
    heir.wait_delivered(100)
    return owner, heir


@contextlib.contextmanager
def _somebody_else(simulator: SimulatorThread) -> Iterator[None]:
    """Read the same stream by hand, under the same account."""
    connection = http.client.HTTPConnection(urlsplit(simulator.url).netloc)
    connection.request("GET", STREAM, headers={"Authorization": f"Bearer {TOKEN}"})
    answer, sock = connection.getresponse(), connection.sock
    assert 200 == answer.status

    def read() -> None:
        with contextlib.suppress(http.client.HTTPException, OSError):
            answer.read()

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    time.sleep(APART_SECS)
    try:
        yield
        assert reading.is_alive()  # to the end nobody has ended it
    finally:
        sock.shutdown(socket.SHUT_RDWR)
        reading.join(10)
        connection.close()


def _nothing_is_doubled(broker: Broker, fresh: str, simulator: SimulatorThread, heir: Worker) -> None:
    heir.wait_delivered(heir.delivered() + 50)
    simulator.rate = 0
    assert 0 == heir.stop()
    assert not topics.contents(broker, fresh).doubled


def test_heir_ends_the_ghost_before_it_connects(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """With the only slot held for a minute, a takeover after SIGKILL costs the session and 4 s, and no refusal."""
    simulator = simulate(rate=50, ghost_slot_s=GHOST_SECS)
    owner, heir = _owner_and_heir(workers, environment(broker, simulator.url, fresh))

    killed_at = time.time()
    owner.kill()
    connected = heir.wait_event("stream.connected")

    assert seconds_between(killed_at, connected) <= SESSION_SECS + TAKEOVER_SECS
    assert [1] == [event["connections"] for event in heir.events("stream.ghost_released")]
    assert [] == heir.events("stream.disconnected")
    _nothing_is_doubled(broker, fresh, simulator, heir)


def test_somebody_elses_connection_stays(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """Of two connections that X lists for the stream, the heir ends the one of its owner's record."""
    simulator = simulate(rate=50, ghost_slot_s=GHOST_SECS, plan="enterprise")
    simulator.add_rule("#murmuration")
    with _somebody_else(simulator):
        owner, heir = _owner_and_heir(workers, environment(broker, simulator.url, fresh))
        killed_at = time.time()
        owner.kill()
        connected = heir.wait_event("stream.connected")

        assert seconds_between(killed_at, connected) <= SESSION_SECS + TAKEOVER_SECS
        assert [1] == [event["connections"] for event in heir.events("stream.ghost_released")]
        _nothing_is_doubled(broker, fresh, simulator, heir)


def test_owner_killed_before_x_told_its_connections_id(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """Then its heir finds the connection by when it was opened."""
    simulator = simulate(rate=50, ghost_slot_s=GHOST_SECS)
    simulator.fault("E503a", on="connections", seconds=600)
    owner, heir = _owner_and_heir(workers, environment(broker, simulator.url, fresh))
    simulator.clear_faults()

    killed_at = time.time()
    owner.kill()
    connected = heir.wait_event("stream.connected")

    assert seconds_between(killed_at, connected) <= SESSION_SECS + TAKEOVER_SECS
    assert [1] == [event["connections"] for event in heir.events("stream.ghost_released")]
    _nothing_is_doubled(broker, fresh, simulator, heir)


@pytest.mark.parametrize("how", ["absent", "refused"])
def test_heir_waits_where_x_lets_nobody_end_connections(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str, how: str
) -> None:
    """Without the endpoint, or with 403, the heir is refused until the slot frees, and says why."""
    ghost_secs = SESSION_SECS + 10
    simulator = simulate(rate=50, ghost_slot_s=ghost_secs)
    if how == "absent":
        simulator.fault("absent", endpoint="connections")
    else:
        simulator.fault("E403c", on="connections", seconds=600)
    owner, heir = _owner_and_heir(workers, environment(broker, simulator.url, fresh))

    killed_at = time.time()
    owner.kill()
    refused = heir.wait_event("stream.disconnected")
    connected = heir.wait_event("stream.connected")

    assert "ConnectionTaken" == refused["error"]
    assert seconds_between(killed_at, refused) <= SESSION_SECS + TAKEOVER_SECS
    assert seconds_between(killed_at, connected) >= ghost_secs
    assert [] == heir.events("stream.ghost_released")
    assert heir.wait_event("feature.unavailable", feature="connections")
    wait_for(lambda: heir.ready, "the heir is ready")
    _nothing_is_doubled(broker, fresh, simulator, heir)
