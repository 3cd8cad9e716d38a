"""
The stage of the chaos suite: what runs, what is done to it, and what /coverage said meanwhile.

The truth is the simulator's log: every post that matched rules, when it was made, and on which connection the kernel
took it.  The claim is /coverage, which is asked all the time.  test_chaos.py compares the two.

Six rules overlap: most posts match one, many two or three.  Search can find by them exactly what the stream sends,
which is not so of any rule: they ask for no retweets by words (search has none of these), nor for quotes (the stream
also reads the quoted post), and no word in them changes when accents go.  Retweets and quotes come by their authors.
One rule is longer than the 512 characters that search takes, so it has to be split.

Times are compressed, unless CONNECTOR_CHAOS_REAL_TIMES=1 asks for those of X:

                              X      here
    lag of a post, median   4.8 s   0.8 s   a sixth; at most some 10 s, and 1.7 s here
    ids out of order by     5   s   0.8 s   a sixth
    settle.secs            15   s   5   s   more than the two together, with room for a slow machine
    keep-alive             20   s   4   s
    silence.timeout.secs   25   s   8   s
    session at Kafka       10   s   6   s
    SIGSTOP             10-40   s  8-16 s   longer than the session, always
    broker frozen        5-30   s  5-12 s
    503                    30   s   6   s
    X unreachable         360   s  20   s   longer than the silence
    all workers down      600   s  25   s

What search needs is not compressed: it knows a post when it is 30 s old.  Its limit of 450 requests in 15 minutes is
raised: 300 posts a second that match 1.5 rules each take 4.5 pages for each second of a gap, so it would allow for
100 s of gaps.  Money and the limit of 50 connects are no matter here either.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from connector.simulator import ConnectionRecord, SimulatorThread
from tests import topics
from tests.brokers import Broker, KafkaBroker
from tests.workers import PATIENCE_SECS, Worker, environment, wait_for

RATE = 300
DUPLICATE_EVERY = 50
WORKERS = 3
CONNECTOR = "posts"
CALM_SECS = 1.0
WATCH_SECS = 0.2

_NEITHER = " -is:retweet -is:quote"
RULES = (
    {"value": f"#murmuration{_NEITHER}", "tag": "hashtag"},
    {"value": f"#starling{_NEITHER}", "tag": "bird"},
    {"value": f"(#murmuration OR #starling) lang:en{_NEITHER}", "tag": "english"},
    {"value": f"lantern{_NEITHER}", "tag": "keyword"},
    {"value": "from:synthetic_user_00007", "tag": "author"},
    {"value": " OR ".join(f"from:synthetic_user_{number:05d}" for number in range(20)), "tag": "authors"},
)

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

GAP_FIELDS = {"from", "to", "reason", "state", "detail", "posts", "cost_usd"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How long things last, in seconds; pairs are the least and the most."""

    settle: float = 5
    lag: float = 0.8
    disorder: float = 0.8
    keepalive: float = 4
    silence: float = 8
    session: float = 6
    frozen_worker: tuple[float, float] = (8, 16)
    frozen_broker: tuple[float, float] = (5, 12)
    dead_broker: float = 3
    refused: float = 6
    unreachable: float = 20
    down: float = 25
    closing: float = 300
    """How long the last gaps may take to close."""


COMPRESSED = Times()
REAL = Times(
    settle=15,
    lag=4.8,
    disorder=5,
    keepalive=20,
    silence=25,
    session=10,
    frozen_worker=(10, 40),
    frozen_broker=(5, 30),
    refused=30,
    unreachable=360,
    down=600,
    closing=3600,
)


def simulator_settings(times: Times, plan: str, seed: int) -> dict[str, object]:
    """Return the settings of an X that posts, out of order and late, and limits nothing."""
    return {
        "plan": plan,
        "seed": seed,
        "rate": RATE,
        "duplicate_every": DUPLICATE_EVERY,
        "out_of_order_s": times.disorder,
        "delivery_lag": "realistic",
        "delivery_lag_s": times.lag,
        "keepalive_s": times.keepalive,
        "hashtags": ("murmuration", "starling", "meadow"),
        "store_posts": 2_000_000,
        "emissions_kept": 4_000_000,
        "rate_limits": {"filtered_stream": 10_000, "search_recent": 100_000},
    }


def worker_settings(times: Times, broker: Broker, url: str, name: str, **others: object) -> dict[str, str]:
    """Return the environment of a worker that follows RULES."""
    settings = environment(
        broker,
        url,
        name,
        rules=json.dumps(RULES),
        settle_secs=times.settle,
        silence_timeout_secs=times.silence,
        broker_session_timeout=times.session,
        **others,
    )
    del settings["CONNECTOR_HASHTAGS"]  # their rules would ask for retweets and quotes too
    return settings


# -- what /coverage says


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A gap as /coverage shows it; UNIX milliseconds of creation."""

    from_ms: int
    to_ms: int
    reason: str
    state: str
    detail: str | None
    posts: int

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        if missing := GAP_FIELDS - fields.keys():
            raise ValueError(f"a gap of /coverage has no {', '.join(sorted(missing))}: {fields}")
        return cls(
            from_ms=topics.iso_ms(fields["from"]),
            to_ms=topics.iso_ms(fields["to"]),
            reason=fields["reason"],
            state=fields["state"],
            detail=fields["detail"],
            posts=fields["posts"] or 0,
        )

    def __contains__(self, ms: int) -> bool:
        return self.from_ms <= ms <= self.to_ms

    def __str__(self) -> str:
        return f"[{topics.ms_iso(self.from_ms)}, {topics.ms_iso(self.to_ms)}] {self.state}, {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What one worker said of the connector's coverage at one time (UNIX seconds)."""

    at: float
    worker: str
    covered_from_ms: int
    covered_to_ms: int
    gaps: tuple[Gap, ...]
    repaired: tuple[Gap, ...]


@dataclass(slots=True, kw_only=True)
class Shown:
    """All that was shown of one gap; times in UNIX seconds."""

    gap: Gap
    """As long as it got."""
    first_at: float
    open_at: list[float] = field(default_factory=list)
    workers: set[str] = field(default_factory=set)
    """Who showed it."""
    as_gap: bool = False
    """It was among the gaps, not only among those repaired."""
    repaired_at: float | None = None


class Watch:
    """Asks each worker alive for /coverage, again and again, in a thread of its own; keeps what they say."""

    def __init__(self, alive: Callable[[], Sequence[Worker]]) -> None:
        self.shown: dict[int, Shown] = {}
        """Each gap by its begin; to be read when the watch is over."""
        self.begins: set[int] = set()
        """What was ever said to be the begin of coverage."""
        self._alive = alive
        self._latest: Sighting | None = None
        self._answer = "nobody was asked"
        self._failure: ValueError | KeyError | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=30)

    def latest(self) -> Sighting | None:
        """Return what was said last."""
        if self._failure is not None:
            raise AssertionError(f"/coverage: {self._failure}") from self._failure
        return self._latest

    def wait(self, condition: Callable[[Sighting], bool], secs: float) -> tuple[Sighting, str | None]:
        """Return the first sighting from now on of which *condition* holds, or the last one and a complaint."""
        since = time.time()

        def found() -> Sighting | None:
            seen = self.latest()
            return seen if seen is not None and seen.at > since and condition(seen) else None

        try:
            return wait_for(found, "coverage to the end", secs), None
        except AssertionError as error:
            if (seen := self.latest()) is None:
                raise AssertionError(f"Nobody tells its coverage: {self._answer[:500]}") from None
            return seen, f"{error}: {self._answer[:2000]}"

    def _run(self) -> None:
        while not self._over.wait(WATCH_SECS):
            for worker in self._alive():
                try:
                    self._ask(worker)
                except (ValueError, KeyError) as error:
                    self._failure = error
                    return

    def _ask(self, worker: Worker) -> None:
        try:
            with urlopen(f"http://127.0.0.1:{worker.port}/coverage", timeout=2) as response:
                body = json.load(response)
        except HTTPError as error:
            with error:
                self._answer = f"{worker.name} answers {error.code}"
            return
        except (URLError, OSError) as error:
            self._answer = f"{worker.name}: {error}"
            return
        self._answer = f"{worker.name} answers {body}"
        for entry in body["connectors"]:
            if entry["name"] == CONNECTOR and entry["covered_from"] and entry["covered_to"]:
                self._keep(
                    Sighting(
                        at=time.time(),
                        worker=worker.name,
                        covered_from_ms=topics.iso_ms(entry["covered_from"]),
                        covered_to_ms=topics.iso_ms(entry["covered_to"]),
                        gaps=tuple(map(Gap.of, entry["gaps"])),
                        repaired=tuple(map(Gap.of, entry["repaired"])),
                    )
                )

    def _keep(self, seen: Sighting) -> None:
        self.begins.add(seen.covered_from_ms)
        for gap in (*seen.gaps, *seen.repaired):
            shown = self.shown.setdefault(gap.from_ms, Shown(gap=gap, first_at=seen.at))
            shown.workers.add(seen.worker)
            if gap.to_ms >= shown.gap.to_ms:
                shown.gap = gap
        for gap in seen.gaps:
            self.shown[gap.from_ms].as_gap = True
            if gap.state == "open":
                self.shown[gap.from_ms].open_at.append(seen.at)
        for gap in seen.repaired:
            shown = self.shown[gap.from_ms]
            shown.repaired_at = shown.repaired_at or seen.at
        self._latest = seen


# -- what is done


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
    """Three workers, a broker and a simulator, and what is done to them."""

    def __init__(
        self,
        simulator: SimulatorThread,
        broker: KafkaBroker,
        start: Callable[[], Worker],
        times: Times,
        rng: random.Random,
    ) -> None:
        self.simulator = simulator
        self.broker = broker
        self.times = times
        self.alive: list[Worker] = []
        self.outages: list[Outage] = []
        self._start = start
        self._rng = rng

    def open(self) -> None:
        """Start the workers, the owner first and alone; wait until posts have been delivered for a while."""
        self._join(1)
        self._join(WORKERS - 1)
        self._settle(time.time())

    def do(self, fault: str) -> None:
        """Let a fault happen, and wait until coverage has gone on beyond it."""
        first = self.simulator.emissions.next_number
        began = time.time()
        getattr(self, fault)()
        ended = time.time()
        newest = self._settle(ended)
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

    def _settle(self, since: float) -> ConnectionRecord:
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
        latest = 0
        for worker in self.alive:
            status, body = worker.get(f"/connectors/{CONNECTOR}/offsets")
            offsets = [entry["offset"]["covered_to"] for entry in body["offsets"]] if status == 200 else []
            latest = max([latest, *(topics.iso_ms(covered_to) for covered_to in offsets if covered_to)])
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
        spelling = self._rng.choice(["upstream", "operational"])
        self.simulator.fault("disconnect", connection=self._connection(), spelling=spelling)

    def stall(self) -> None:
        """A ghost: the connection stays open and says nothing more."""
        self.simulator.fault("stall", connection=self._connection(), seconds=3600)

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
        owner, at = self._owner(), time.time()
        self.alive.remove(owner)
        owner.freeze()
        try:
            time.sleep(self._rng.uniform(*self.times.frozen_worker))
            self._reconnected(at)
        finally:
            owner.thaw()
        self.alive.append(owner)

    def all_down(self) -> None:
        """SIGKILL to all."""
        dead, self.alive = self.alive, []
        for worker in dead:
            worker.kill()
        time.sleep(self.times.down)
        self._join(WORKERS)

    # -- to Kafka

    def freeze_broker(self) -> None:
        self.broker.freeze()
        time.sleep(self._rng.uniform(*self.times.frozen_broker))
        self.broker.thaw()

    def restart_broker(self) -> None:
        self.broker.kill()
        time.sleep(self.times.dead_broker)
        self.broker.start()


def script(rng: random.Random, minutes: float) -> Iterator[str]:
    """Yield faults for so long: each once, in some order, then again in another."""
    end = time.monotonic() + minutes * 60
    while True:
        for fault in rng.sample(FAULTS, len(FAULTS)):
            if time.monotonic() >= end:
                return
            yield fault
