"""
Posts and users are withdrawn while workers die, streams break and Kafka is away: what the topic shows in the end.

    CONNECTOR_CHAOS_SEED=7 pytest -m alone tests/e2e/test_compliance_chaos.py
"""

import os
import random
import threading
import time
from collections.abc import Callable
from typing import Self

import pytest

from connector.simulator import SimulatorThread
from tests import topics
from tests.brokers import KafkaBroker
from tests.e2e.test_compliance import NAME, owner_of, reads_all, set_up
from tests.withdrawals import lying
from tests.workers import SESSION_SECS, Workers, environment, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(600)]

SEED = int(os.environ.get("CONNECTOR_CHAOS_SEED", "1"))
RATE = 40
CALM_SECS = 8.0
AWAY_SECS = 50.0
BETWEEN_SECS = 0.4
"""A post is deleted about so often."""
USERS_SHARE = 0.1
"""This part of what is withdrawn are all posts of a user."""


class Regret:
    """Withdraws posts at random until it is ended; *withdrawn* tells of each when, and by which event."""

    def __init__(self, simulator: SimulatorThread) -> None:
        self.withdrawn: dict[str, tuple[float, str]] = {}
        self._simulator, self._rng = simulator, random.Random(SEED)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(self._rng.uniform(0, 2 * BETWEEN_SECS)):
            self._simulator.call(self._withdraw)

    def _withdraw(self) -> None:
        simulator, now = self._simulator.simulator, time.time()
        posts = [each for each in self._simulator.emissions if each.origin == "live"]
        chosen = self._rng.choice(posts[-2_000:]).post_id
        if self._rng.random() < USERS_SHARE:
            try:
                author = str(simulator.store.get(int(chosen)).data["author_id"])
            except KeyError:  # withdrawn before
                return
            gone, kind = simulator.delete_user(author, kind="user_suspend"), f"user {author}"
        else:
            simulator.delete_post(chosen)
            gone, kind = [chosen], "post"
        for post in gone:
            self.withdrawn.setdefault(post, (now, kind))


def test_what_is_withdrawn_goes_whatever_happens(
    frail_broker: KafkaBroker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """
    After a takeover, broken streams and a minute without Kafka each withdrawn post that was delivered has a tombstone
    behind it, exactly one, and no other post has any.
    """
    simulator = simulate(plan="enterprise", rate=RATE)
    settings = environment(
        frail_broker, simulator.url, fresh, plan="enterprise", broker_session_timeout=str(SESSION_SECS)
    )
    group = [workers.start(settings).wait_ready() for _ in range(2)]
    set_up(group[0], fresh, simulator.url)
    wait_for(lambda: reads_all(simulator), "all partitions are read")
    group[1].wait_delivered(RATE)
    with Regret(simulator) as regret:
        time.sleep(CALM_SECS)
        owner = owner_of(group)
        owner.kill()
        group.remove(owner)
        began = [time.time()]
        wait_for(lambda: group[0].events("task.started", connector=NAME), "the takeover", 90.0)
        wait_for(lambda: reads_all(simulator), "all partitions are read again")
        time.sleep(CALM_SECS)
        began.append(time.time())
        simulator.fault("rst")
        time.sleep(CALM_SECS)
        began.append(time.time())
        frail_broker.kill()
        time.sleep(AWAY_SECS)
        frail_broker.start()
        began.append(time.time())
        time.sleep(CALM_SECS)
    simulator.rate = 0

    def left() -> set[str]:
        return _left(frail_broker, fresh, regret)

    deadline = time.monotonic() + 120
    while left() and time.monotonic() < deadline:
        time.sleep(2)
    wait_for(lambda: group[0].ready, "all is well again")
    rest = left()
    assert not rest, _told(rest, regret, began, topics.read(frail_broker, fresh), group[0].log)

    exits = [worker.stop() for worker in group]
    assert [0] * len(exits) == exits
    found = lying(frail_broker, fresh)
    assert {(True,), (True, False)} == set(map(tuple, found.values()))
    assert {key for key, values in found.items() if not values[-1]} == found.keys() & regret.withdrawn.keys()


def _left(broker: KafkaBroker, topic: str, regret: Regret) -> set[str]:
    """Return the withdrawn posts that a reader of the topic still sees."""
    return {post for post, values in lying(broker, topic).items() if values[-1]} & regret.withdrawn.keys()


def _told(rest: set[str], regret: Regret, began: list[float], records: list[topics.ConsumerRecord], log: str) -> str:
    places = {record.key.decode(): (record.partition, record.offset) for record in records}
    lines = [
        f"{post} partition {places[post]} withdrawn at {regret.withdrawn[post][0] - began[0]:.1f} by"
        f" {regret.withdrawn[post][1]}, made at {((int(post) >> 22) + 1288834974657) / 1000 - began[0]:.1f}"
        for post in sorted(rest)
    ]
    at = ", ".join(f"{each - began[0]:.1f}" for each in began)
    return f"{len(rest)} are left (kill, reset, Kafka away, back at {at}):\n" + "\n".join(lines) + f"\n{log[-6000:]}"
