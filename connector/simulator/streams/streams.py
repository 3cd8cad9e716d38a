"""
The way of a post to all connections.

    post --> store --> rules --> (lag, disorder) --> each connection that wants the post
                                            \\--> no connection: logged as missed
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Literal

from connector.simulator.streams.compliance import Compliance
from connector.simulator.streams.delivery import Delivery
from connector.simulator.streams.disorder import Disorder
from connector.simulator.streams.endpoints import COMPLIANCE, FILTERED
from connector.simulator.streams.replays import Replays
from connector.simulator.streams.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable

    from connector.simulator.clock import Clock
    from connector.simulator.meter import Meter
    from connector.simulator.posts.post import Post
    from connector.simulator.posts.store import PostStore
    from connector.simulator.rules.store import Rule, RuleStore
    from connector.simulator.settings import SimulatorSettings
    from connector.simulator.streams.connection import StreamConnection
    from connector.simulator.streams.emissions import EmissionLog
    from connector.simulator.streams.messages import Wanted

LATEST_DUPLICATE_S = 0.5
"""A duplicate comes at most this long after its post."""


class Streams:
    """All streams: opens connections, and sends each post on its way."""

    def __init__(
        self,
        settings: SimulatorSettings,
        *,
        clock: Clock,
        rules: RuleStore,
        store: PostStore,
        meter: Meter,
        log: EmissionLog,
    ) -> None:
        self._clock = clock
        self._store = store
        self._random = random.Random(settings.seed)
        self._timers: set[asyncio.TimerHandle] = set()
        self._matched = 0
        self.generated = 0
        self.disorder = Disorder.of(settings, self._random)
        self.slots = Slots(settings, clock=clock, log=log, rng=self._random)
        self.delivery = Delivery(
            settings, clock=clock, rules=rules, meter=meter, log=log, slots=self.slots, disorder=self.disorder
        )
        self.compliance = Compliance(clock=clock, live=self.slots.live)
        self._replays = Replays(
            store=store, delivery=self.delivery, buffer_bytes=settings.buffer_bytes, after=self._after
        )
        self.on_opened: Callable[[StreamConnection], None] = lambda _: None

    # Connections.

    def live(self, endpoint: str | None = None) -> list[StreamConnection]:
        """Return the open connections, of one endpoint or of all."""
        return self.slots.live(endpoint)

    def open(self, wanted: Wanted, *, head: bytes, remote: tuple[str, int]) -> StreamConnection:
        """Make a connection; posts reach it when its head is written."""
        return self.slots.open(wanted, head=head, remote=remote, opened=self._opened)

    def _opened(self, connection: StreamConnection) -> None:
        wanted = connection.wanted
        now = self._clock.now()
        if wanted.endpoint in COMPLIANCE:
            self._tell_past(connection, now)
            return
        if wanted.interval is not None:
            self._replays.recover(connection, wanted.interval)
            return
        if wanted.backfill_s:
            # posts of this very millisecond were made before the connection, too
            self._replays.backfill(connection, now - wanted.backfill_s, now + 0.001)
        self.on_opened(connection)

    def _tell_past(self, connection: StreamConnection, now: float) -> None:
        """Write the compliance events of the time that the client of *connection* asks for."""
        wanted = connection.wanted
        if wanted.interval is not None:
            self.compliance.replay(connection, *wanted.interval)
            connection.finish("recovery_done")
            return
        if wanted.backfill_s:
            self.compliance.replay(connection, now - wanted.backfill_s, now + 0.001)
        self.on_opened(connection)

    def stop(self) -> None:
        """End all connections cleanly; posts that were delayed reach nobody."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for connection in self.live():
            connection.finish("stopped")

    # Posts.

    def matching(self, post: Post) -> list[Rule]:
        """Return the rules in force that a post matches."""
        return self.delivery.matching(post)

    def emit(self, post: Post, rules: list[Rule] | None = None) -> bool:
        """Send a post on its way; return whether it matches rules."""
        rules = self.matching(post) if rules is None else rules
        self.generated += 1
        self._store.add(post, self._clock.now())
        delay = self.disorder.delay()
        if delay <= 0:
            self._deliver(post, rules, "live")
        else:
            self._later(delay, post, rules, "live")
        self._matched += bool(rules)
        every = self.disorder.duplicate_every
        if rules and every and self._matched % every == 0:
            self._later(delay + self._random.uniform(0, LATEST_DUPLICATE_S), post, rules, "duplicate")
        return bool(rules)

    def _later(self, delay: float, post: Post, rules: list[Rule], origin: Literal["live", "duplicate"]) -> None:
        self._after(delay, lambda: self._deliver(post, rules, origin))

    def _after(self, delay: float, act: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            act()

        timer = asyncio.get_running_loop().call_later(delay, run)
        self._timers.add(timer)

    def _deliver(self, post: Post, rules: list[Rule], origin: Literal["live", "duplicate"]) -> None:
        reached = False
        for connection in self.live():
            if connection.wanted.interval is not None or not self.delivery.wants(connection, post, rules):
                continue
            reached = reached or connection.wanted.endpoint == FILTERED
            if not self._replays.hold(connection, post, rules, origin):
                self.delivery.write(connection, post, rules, origin=origin)
        if rules and not reached and origin == "live":
            self.delivery.miss(post, rules)
