"""
Minutes of faults by script, on real Kafka, at 500 posts a second; then the topic is compared with the truth.

The truth is the simulator's log of which post the kernel took for which connection.  CONNECTOR_FAULT_MINUTES says how
long faults go on, 3 without it; each fault happens at least once.
"""

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from connector.simulator import Emission, SimulatorThread
from tests import topics
from tests.brokers import KafkaBroker
from tests.workers import PATIENCE_SECS, SESSION_SECS, Worker, Workers, environment, seconds_between, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.long]

MINUTES = float(os.environ.get("CONNECTOR_FAULT_MINUTES", "3"))
RATE = 500
SETTLE_SECS = 2
SILENCE_SECS = 6
FROZEN_WORKER_SECS = 15.0
FROZEN_BROKER_SECS = 20.0
DEAD_BROKER_SECS = 3.0
CALM_SECS = 2.0
"""Between two faults posts flow undisturbed at least this long."""

TAIL_SECS = 3.0
"""What a cut leaves out was written at most this long before it; a commit takes some 30 ms."""

FAILOVER_SLACK_SECS = 10.0


@dataclass(slots=True, kw_only=True)
class Cut:
    """A connection that was cut by a fault that may cost the last posts in flight, and when."""

    cause: str
    at: float


@dataclass(slots=True)
class Script:
    """The stage: what runs, and what was done to whom."""

    simulator: SimulatorThread
    broker: KafkaBroker
    start: Callable[[], Worker]
    alive: list[Worker] = field(default_factory=list)
    cuts: dict[str, Cut] = field(default_factory=dict)
    failovers: dict[str, list[float]] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    # -- looking

    def live(self) -> str:
        """Return the one connection that is open, once it is."""

        def only() -> str | None:
            found = self.simulator.call(lambda: [c.id for c in self.simulator.simulator.streams.live()])
            assert len(found) <= 1, f"{len(found)} connections at once"
            return found[0] if found else None

        return wait_for(only, "a connection")

    def owner(self) -> Worker:
        """Return the worker that runs the task, once exactly one of them says so."""

        def only() -> Worker | None:
            owners = [worker for worker in self.alive if worker.tasks]
            return owners[0] if len(owners) == 1 else None

        return wait_for(only, "one owner of the task")

    def delivered(self) -> int:
        return max(worker.delivered() for worker in self.alive)

    def settle(self) -> None:
        """Wait until all workers are ready and posts are delivered that were written after now."""
        wait_for(lambda: all(worker.ready for worker in self.alive), "all workers ready", 2 * PATIENCE_SECS)
        enough = self.delivered() + RATE
        wait_for(lambda: self.delivered() >= enough, "posts are delivered again")
        time.sleep(CALM_SECS)

    def wait_quiet(self) -> None:
        """Wait until no more posts come."""
        seen = -1

        def still() -> bool:
            nonlocal seen
            before, seen = seen, self.delivered()
            time.sleep(1)
            return before == seen > 0

        wait_for(still, "the last posts are delivered")

    def _cut(self, cause: str) -> str:
        connection = self.live()
        self.cuts[connection] = Cut(cause=cause, at=time.time())
        return connection

    def _measure(self, cause: str, since: float) -> None:
        """Note how long after *since* (UNIX) one of the workers alive has connected."""

        def later() -> float | None:
            waits = [
                seconds_between(since, event)
                for worker in self.alive
                for event in worker.events("stream.connected")
                if seconds_between(since, event) > 0
            ]
            return min(waits, default=None)

        self.failovers.setdefault(cause, []).append(wait_for(later, f"another connection after {cause}"))

    # -- faults

    def kill_owner(self) -> None:
        """SIGKILL: the other worker goes on; a new one takes its place as the standby."""
        owner = self.owner()
        self._cut("SIGKILL")
        at = time.time()
        owner.kill()
        self.alive.remove(owner)
        self._measure("SIGKILL", at)
        self.alive.append(self.start().wait_ready())

    def terminate_owner(self) -> None:
        """SIGTERM: the worker drains and exits 0, the other goes on."""
        owner = self.owner()
        self._cut("SIGTERM")
        at = time.time()
        assert owner.stop() == 0
        self.alive.remove(owner)
        self._measure("SIGTERM", at)
        self.alive.append(self.start().wait_ready())

    def freeze_owner(self) -> None:
        """SIGSTOP for longer than the session: the other takes over, the frozen one is fenced and stands by."""
        owner = self.owner()
        self._cut("SIGSTOP")
        at = time.time()
        owner.freeze()
        self.alive.remove(owner)
        try:
            self._measure("SIGSTOP", at)
            time.sleep(max(at + FROZEN_WORKER_SECS - time.time(), 0))
        finally:
            owner.thaw()
        self.alive.append(owner)

    def reset(self) -> None:
        connection = self._cut("reset")
        self.simulator.fault("rst", connection=connection)
        self._gone(connection)

    def close_cleanly(self) -> None:
        connection = self.live()
        self.simulator.fault("clean_close", connection=connection)
        self._gone(connection)

    def refuse(self) -> None:
        """503 to whoever connects, after a clean close."""
        self.simulator.fault("E503b", on="streams", count=1)
        self.close_cleanly()

    def stall_briefly(self) -> None:
        """Shorter than the silence that counts as a dead connection: nothing may happen at all."""
        connection = self.live()
        self.simulator.fault("stall", connection=connection, seconds=SILENCE_SECS / 2)
        time.sleep(SILENCE_SECS / 2)
        assert self.live() == connection

    def stall(self) -> None:
        """A ghost: the connection stays open and says nothing more."""
        connection = self.live()
        self.simulator.fault("stall", connection=connection, seconds=600)
        self._gone(connection)

    def freeze_broker(self) -> None:
        self.broker.freeze()
        time.sleep(FROZEN_BROKER_SECS)
        self.broker.thaw()

    def restart_broker(self) -> None:
        self.broker.kill()
        time.sleep(DEAD_BROKER_SECS)
        self.broker.start()

    def _gone(self, connection: str) -> None:
        wait_for(lambda: self.live() != connection, "another connection")

    def run(self, minutes: float) -> None:
        """Do each of the faults in turn, and again in another order, until the time is over."""
        faults = [
            self.close_cleanly,
            self.kill_owner,
            self.stall_briefly,
            self.reset,
            self.freeze_broker,
            self.refuse,
            self.terminate_owner,
            self.stall,
            self.restart_broker,
            self.freeze_owner,
        ]
        end = time.monotonic() + minutes * 60
        first = True
        while first or time.monotonic() < end:
            for fault in faults:
                if not first and time.monotonic() >= end:
                    break
                fault()
                self.done.append(fault.__name__)
                self.settle()
            first = False
            random.Random(len(self.done)).shuffle(faults)


@pytest.mark.timeout(MINUTES * 60 + 420)
def test_faults(
    frail_broker: KafkaBroker,
    simulate: Callable[..., SimulatorThread],
    workers: Workers,
    fresh: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No post is doubled, and none is missing but the last in flight where a connection was cut."""
    simulator = simulate(hashtags=("murmuration",), rate_limits={"filtered_stream": 10_000})
    settings = environment(
        frail_broker,
        simulator.url,
        fresh,
        settle_secs=SETTLE_SECS,
        silence_timeout_secs=SILENCE_SECS,
        recovery="none",  # what a repair fetches afterwards is the chaos suite's affair
    )
    script = Script(simulator, frail_broker, lambda: workers.start(settings))
    script.alive = [script.start().wait_ready(), script.start()]
    script.alive[1].wait_ready()
    simulator.rate = RATE
    script.settle()

    script.run(MINUTES)
    simulator.rate = 0
    script.wait_quiet()
    exits = [worker.stop() for worker in script.alive]
    written = list(simulator.emissions)
    found = topics.contents(frail_broker, fresh)
    carried = topics.by_connection(written, found)
    with capsys.disabled():
        _tell(script, carried, found)

    assert exits == [0, 0]
    assert not found.strange
    assert not found.doubled
    assert not topics.never_emitted(written, found)
    assert not topics.out_of_order(carried, found)
    _assert_only_tails_are_missing(script, carried)
    _assert_offset_agrees(frail_broker, fresh, found, written)
    for cause in ("SIGKILL", "SIGTERM", "SIGSTOP"):
        assert max(script.failovers[cause]) < SESSION_SECS + FAILOVER_SLACK_SECS


def _assert_only_tails_are_missing(script: Script, carried: list[topics.Carried]) -> None:
    for one in carried:
        cut = script.cuts.get(one.connection)
        if cut is None:
            assert [] == [post.post_id for post in one.missing]
            continue
        assert one.is_tail, f"{cut.cause}: not only the last posts are missing"
        too_early = [post.at - cut.at for post in one.missing if post.at < cut.at - TAIL_SECS]
        assert [] == too_early, f"{cut.cause}: posts from long before it are missing"


def _assert_offset_agrees(broker: KafkaBroker, group: str, found: topics.Contents, written: list[Emission]) -> None:
    ((key, offset),) = topics.offsets(broker, group).items()
    covered_to_ms = topics.iso_ms(offset["covered_to"])

    assert '["posts",{"stream":"filtered"}]' == key
    assert found.records == offset["posts"]
    assert covered_to_ms <= max(post.at for post in written if post.complete) * 1000


def _tell(script: Script, carried: list[topics.Carried], found: topics.Contents) -> None:
    causes = {connection: cut.cause for connection, cut in script.cuts.items()}
    missed = sum(post.outcome == "missed" for post in script.simulator.emissions)
    print(f"\n{len(script.done)} faults: {', '.join(script.done)}")  # noqa: T201
    print(topics.summary(carried, causes))  # noqa: T201
    for cause, waits in script.failovers.items():
        print(f"{cause}: connected again after {', '.join(f'{wait:.1f}' for wait in waits)} s")  # noqa: T201
    print(f"{found.records} posts in the topic, {missed} posted while nobody was connected")  # noqa: T201
