"""The stage: what runs, and what is done to it."""

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connector.simulator import ConnectionRecord, SimulatorThread
from tests import topics
from tests.brokers import KafkaBroker
from tests.chaos.sightings import WATCH_SECS
from tests.chaos.times import Times
from tests.workers import PATIENCE_SECS, Worker, wait_for

CALM_SECS = 1.0

FAULTS = (
    "reset_mid_line",
    "kill",
    "all_down",
    "disconnect",
    "freeze_worker",
    "refuse",
    "terminate",
    "unreachable",
    "restart_broker",
    "close_cleanly",
    "stall",
    "freeze_broker",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """One fault and what came of it; times in UNIX seconds, numbers of the log of emissions from and to."""

    fault: str
    began: float
    ended: float
    reconnected: float | None
    """When the connection that carries on was made; None if it is the one of before."""
    emissions: tuple[int, int]

    @property
    def secs(self) -> float:
        return 0 if self.reconnected is None else self.reconnected - self.began


class Stage:
    """*size* workers, a broker and a simulator, and what is done to them; *names* are those of the connectors."""

    def __init__(
        self,
        simulator: SimulatorThread,
        broker: KafkaBroker,
        start: Callable[[], Worker],
        times: Times,
        rng: random.Random,
        *,
        size: int,
        names: Sequence[str],
    ) -> None:
        self.simulator = simulator
        self.broker = broker
        self.times = times
        self.alive: list[Worker] = []
        self.outages: list[Outage] = []
        self.requests = threading.BoundedSemaphore(len(names))
        """Is taken by who sends a request to a worker that must not carry it out much later, as a frozen one would."""
        self._start, self._size, self._names = start, size, names
        self.rng = rng

    def open(self) -> None:
        """Start the workers, the owner first and alone; wait until posts have been delivered for a while."""
        self.raise_curtain()
        self.settle(time.time())

    def raise_curtain(self) -> None:
        """Start the workers, one first and alone."""
        self._join(1)
        self._join(self._size - 1)

    def do(self, fault: str) -> None:
        """Let a fault happen, and wait until coverage has gone on beyond it."""
        first = self.simulator.emissions.next_number
        began = time.time()
        getattr(self, fault)()
        ended = time.time()
        newest = self.settle(ended)
        self.outages.append(
            Outage(
                fault=fault,
                began=began,
                ended=ended,
                reconnected=newest.opened_at if newest.opened_at > began else None,
                emissions=(first, self.simulator.emissions.next_number),
            )
        )

    def fall_silent(self) -> float:
        """End the traffic; return when the last post was made (UNIX seconds), once all are on their way's end."""
        self.simulator.rate = 0
        last = time.time()
        time.sleep(3 * self.times.lag + self.times.disorder)
        return last

    def _join(self, count: int) -> None:
        joining = [self._start() for _ in range(count)]
        self.alive += [worker.wait_ready(2 * PATIENCE_SECS) for worker in joining]

    def settle(self, since: float) -> ConnectionRecord:
        """Wait until all is well and what was posted after *since* is covered; return the newest connection."""

        def well() -> ConnectionRecord | None:
            newest = self._newest()
            goal = max(since, newest.opened_at) * 1000 if newest else 0
            if newest and self._covered_to_ms() > goal and all(worker.ready for worker in self.alive):
                return newest
            time.sleep(WATCH_SECS)
            return None

        newest = wait_for(well, "all workers ready, and coverage goes on", 3 * PATIENCE_SECS + self.times.silence)
        time.sleep(CALM_SECS)
        return newest

    def _covered_to_ms(self) -> int:
        """Return up to when time is claimed; a coverage that only begins, a little later than now, claims nothing."""
        latest = 0
        for worker, name in itertools.product(self.alive, self._names):
            status, body = worker.get(f"/connectors/{name}/offsets")
            known = [entry["offset"] for entry in body["offsets"]] if status == 200 else []
            claims = [topics.iso_ms(each["covered_to"]) for each in known if _claims(each)]
            latest = max([latest, *claims])
        return latest

    def _newest(self) -> ConnectionRecord | None:
        """Return the newest open connection that is no recovery."""

        def records() -> list[ConnectionRecord]:
            live = self.simulator.simulator.streams.live()
            return [connection.record for connection in live if connection.wanted.interval is None]

        return max(self.simulator.call(records), key=lambda record: record.opened_at, default=None)

    def _connection(self) -> str:
        return wait_for(self._newest, "a connection").id

    def _reconnected(self, since: float) -> None:
        wait_for(
            lambda: (newest := self._newest()) and newest.opened_at > since,
            "another connection",
            3 * PATIENCE_SECS,
        )

    def _owner(self) -> Worker:
        def only() -> Worker | None:
            owners = [worker for worker in self.alive if worker.tasks]
            return owners[0] if len(owners) == 1 else None

        return wait_for(only, "one owner of the task")

    # -- to the stream

    def reset_mid_line(self) -> None:
        self.simulator.fault("rst", connection=self._connection(), mid_line=True)

    def close_cleanly(self) -> None:
        self.simulator.fault("clean_close", connection=self._connection())

    def disconnect(self) -> None:
        spelling = self.rng.choice(["upstream", "operational"])
        self.simulator.fault("disconnect", connection=self._connection(), spelling=spelling)

    def stall(self) -> None:
        """A ghost: the connection stays open and says nothing more."""
        self.simulator.fault("stall", connection=self._connection(), seconds=3600)

    def bad_line(self) -> None:
        """A line that is no post: for all that read the stream."""
        self.simulator.fault("bad_line", connection=self._connection(), variant="not_json")

    def refuse(self) -> None:
        """503 to whoever connects, after a clean close."""
        self.simulator.fault("E503b", on="streams", seconds=self.times.refused)
        self.close_cleanly()
        time.sleep(self.times.refused)

    def unreachable(self) -> None:
        """No byte comes from X, neither on streams nor in answer to a request."""
        self.simulator.fault("unreachable", seconds=self.times.unreachable)
        time.sleep(self.times.unreachable)

    # -- to the workers

    def kill(self) -> None:
        """SIGKILL to the owner; a new worker takes its place beside the heir."""
        owner, at = self._owner(), time.time()
        self.alive.remove(owner)
        owner.kill()
        self._reconnected(at)
        self._join(1)

    def terminate(self) -> None:
        """SIGTERM to the owner, which drains and exits 0."""
        owner, at = self._owner(), time.time()
        self.alive.remove(owner)
        code = owner.stop()
        assert code == 0, f"{owner.name}: exit code {code} after SIGTERM"
        self._reconnected(at)
        self._join(1)

    def freeze_worker(self) -> None:
        """SIGSTOP to the owner for longer than its session: it wakes up fenced."""
        owner = self._owner()
        with self._without_requests():
            at = time.time()
            self.alive.remove(owner)
            owner.freeze()
        try:
            time.sleep(self.rng.uniform(*self.times.frozen_worker))
            self._reconnected(at)
        finally:
            owner.thaw()
        self.alive.append(owner)

    @contextlib.contextmanager
    def _without_requests(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for _ in self._names:
                stack.enter_context(self.requests)
            yield

    def all_down(self) -> None:
        """SIGKILL to all."""
        dead, self.alive = self.alive, []
        for worker in dead:
            worker.kill()
        time.sleep(self.times.down)
        self._join(self._size)

    # -- to Kafka

    def freeze_broker(self) -> None:
        self.broker.freeze()
        time.sleep(self.rng.uniform(*self.times.frozen_broker))
        self.broker.thaw()

    def restart_broker(self) -> None:
        self.broker.kill()
        time.sleep(self.times.dead_broker)
        self.broker.start()


def _claims(offset: Mapping[str, Any]) -> bool:
    return bool(offset["covered_to"]) and offset["covered_to"] != offset["covered_from"]


def script(rng: random.Random, minutes: float, faults: Sequence[str] = FAULTS) -> Iterator[str]:
    """Yield *faults* for so long: each once, in some order, then again in another."""
    end = time.monotonic() + minutes * 60
    while True:
        for fault in rng.sample(faults, len(faults)):
            if time.monotonic() >= end:
                return
            yield fault
