"""
Who is connected, and what do they get?  The centre of the simulator.

    post --> store --> rules --> (lag, disorder) --> each connection that wants it
                                            \\--> nobody: logged as missed
"""

from __future__ import annotations

import asyncio
import math
import random
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from connector.simulator.http.problems import disconnect_line
from connector.simulator.posts.post import Post, facts
from connector.simulator.posts.rendering import HOSTILITIES, Selection, Spelling
from connector.simulator.rules.matching import sampled
from connector.simulator.snowflakes import first_id
from connector.simulator.streams.connection import Message, StreamConnection, Wanted
from connector.simulator.streams.emissions import ConnectionRecord, EmissionLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from connector.simulator.clock import Clock
    from connector.simulator.http.limits import Meter
    from connector.simulator.posts.store import PostStore
    from connector.simulator.rules.store import Rule, RuleStore
    from connector.simulator.settings import SimulatorSettings

FILTERED = "filtered_stream"

LAG_SPREAD = 0.1622
"""Sigma of the logarithm of the lag: median 4.8 s gives 7 s for 99 %."""

REPLAY_POSTS = 100
"""A replay writes so many at once; between them others are served."""

REPLAY_PAUSE_S = 0.005
REPLAY_BACKLOG_BYTES = 4 * 1024 * 1024
"""A replay waits while more than this, or half of the buffer, is on the way to its reader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEndpoint:
    """One stream of the API."""

    name: str
    partitions: int | None = None
    language: str | None = None
    has_range: bool = True


STREAMS: dict[str, StreamEndpoint] = {
    "/2/tweets/search/stream": StreamEndpoint(name=FILTERED),
    "/2/tweets/sample/stream": StreamEndpoint(name="sample_stream", has_range=False),
    "/2/tweets/sample10/stream": StreamEndpoint(name="sample10_stream", partitions=2),
    "/2/tweets/firehose/stream": StreamEndpoint(name="firehose_stream", partitions=20),
    "/2/tweets/firehose/stream/lang/en": StreamEndpoint(name="firehose_stream_lang_en", partitions=8, language="en"),
    **{
        f"/2/tweets/firehose/stream/lang/{code}": StreamEndpoint(
            name=f"firehose_stream_lang_{code}", partitions=2, language=code
        )
        for code in ("ja", "ko", "pt")
    },
}


@dataclass(slots=True, kw_only=True)
class _Ghost:
    """A slot that a dead client still holds."""

    endpoint: str
    until: float
    connection: str | None = None
    """The connection that it was, where there was one."""


@dataclass(slots=True, kw_only=True)
class Disorder:
    """What happens to posts on their way; can be changed while they flow."""

    duplicate_every: int = 0
    out_of_order_s: float = 0
    lag: Literal["none", "realistic"] = "none"
    hostile: list[str] = field(default_factory=list)
    """Hostilities of the next posts, by name."""
    always_hostile: bool = False


class Streams:
    """All stream connections, and the way of a post to them."""

    def __init__(
        self,
        *,
        settings: SimulatorSettings,
        clock: Clock,
        rules: RuleStore,
        store: PostStore,
        meter: Meter,
        log: EmissionLog,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._rules = rules
        self._store = store
        self._meter = meter
        self._log = log
        self._random = random.Random(settings.seed)
        self._live: dict[str, StreamConnection] = {}
        self._ghosts: list[_Ghost] = []
        self._delayed: set[asyncio.TimerHandle] = set()
        self._waiting: dict[str, deque[tuple[Post, list[Rule], Literal["live", "duplicate"]]]] = {}
        """What comes live for connections that are in a replay: older posts first."""
        self._delivered = 0
        self._cap_second = 0
        self._cap_used: dict[str, int] = {}
        self._muted = False
        self._matched = 0
        self.generated = 0
        self.disorder = Disorder(
            duplicate_every=settings.duplicate_every,
            out_of_order_s=settings.out_of_order_s,
            lag=settings.delivery_lag,
            always_hostile=settings.hostile,
        )
        self.on_opened: Callable[[StreamConnection], None] = lambda _: None
        self.on_delivered: Callable[[int], None] = lambda _: None

    # Connections.

    def live(self, endpoint: str | None = None) -> list[StreamConnection]:
        """Return the open connections, of one endpoint or of all."""
        return [c for c in self._live.values() if c.open and endpoint in (None, c.wanted.endpoint)]

    def get(self, connection: str) -> StreamConnection | None:
        return self._live.get(connection)

    def occupied(self, endpoint: str, partition: int | None = None) -> int:
        """Return how many slots are taken, those of ghosts included; each partition has slots of its own."""
        ghosts = sum(ghost.endpoint == endpoint for ghost in self._haunting())
        return ghosts + sum(partition == connection.wanted.partition for connection in self.live(endpoint))

    def haunt(self, endpoint: str, seconds: float, *, connection: str | None = None) -> None:
        """Take a slot for a client that does not exist, or no longer: the one that had *connection*."""
        until = self._clock.now() + seconds
        self._ghosts.append(_Ghost(endpoint=endpoint, until=until, connection=connection))

    def haunts(self, connection: str) -> bool:
        """Return whether a dead client's *connection* still holds its slot."""
        return any(ghost.connection == connection for ghost in self._haunting())

    def lay(self, connection: str) -> bool:
        """Free the slot that the dead *connection* holds; return whether it held one."""
        held = self.haunts(connection)
        self._ghosts = [ghost for ghost in self._ghosts if ghost.connection != connection]
        return held

    def _haunting(self) -> list[_Ghost]:
        now = self._clock.now()
        self._ghosts = [ghost for ghost in self._ghosts if ghost.until > now]
        return self._ghosts

    def exorcise(self, endpoint: str | None = None) -> int:
        """Free the slots of ghosts; return how many there were."""
        kept = [] if endpoint is None else [g for g in self._ghosts if g.endpoint != endpoint]
        count = len(self._ghosts) - len(kept)
        self._ghosts = kept
        return count

    def connection(self, wanted: Wanted, *, head: bytes, remote: tuple[str, int]) -> StreamConnection:
        """Make a connection; it opens when its head is written."""
        record = ConnectionRecord(
            id=str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
            endpoint=wanted.endpoint,
            remote=remote,
            opened_at=self._clock.now(),
            backfill_s=wanted.backfill_s,
            interval=wanted.interval,
        )
        connection = StreamConnection(
            wanted=wanted,
            record=record,
            head=head,
            settings=self._settings,
            log=self._log,
            clock=self._clock,
            opened=self._opened,
            lost=self._lost,
        )
        # Before the head: whoever has read that finds the connection in the log.
        self._live[connection.id] = connection
        self._log.connections.append(record)
        return connection

    def _opened(self, connection: StreamConnection) -> None:
        wanted = connection.wanted
        now = self._clock.now()
        if wanted.interval is not None:
            self._replay(connection, self._stored(*wanted.interval), origin="recovery")
            return
        if wanted.backfill_s:
            self._waiting[connection.id] = deque()
            self._replay(connection, self._stored(now - wanted.backfill_s, now), origin="backfill")
        self.on_opened(connection)

    def _lost(self, connection: StreamConnection) -> None:
        self._live.pop(connection.id, None)
        if connection.record.end == "client" and self._settings.ghost_slot_s > 0:
            self.haunt(connection.wanted.endpoint, self._settings.ghost_slot_s, connection=connection.id)

    def _stored(self, begin: float, end: float) -> Iterator[int]:
        return iter(self._store.ids(first_id(int(begin * 1000)), first_id(int(end * 1000))))

    def _replay(
        self, connection: StreamConnection, ids: Iterator[int], *, origin: Literal["backfill", "recovery"]
    ) -> None:
        """Write stored posts, seen before or not, as far as the reader keeps up; then what waited for their end."""
        backlog = min(REPLAY_BACKLOG_BYTES, self._settings.buffer_bytes // 2)
        for _ in range(REPLAY_POSTS):
            if connection.open and connection.backlog > backlog:
                break
            post_id = next(ids, None) if connection.open else None
            if post_id is None:
                self._replayed(connection)
                return
            try:
                post = self._store.get(post_id)
            except KeyError:  # it has left the store meanwhile
                continue
            rules = self._matching(post)
            if self._wants(connection, post, rules):
                self._write(connection, post, rules, origin=origin)
        self._after(REPLAY_PAUSE_S, lambda: self._replay(connection, ids, origin=origin))

    def _replayed(self, connection: StreamConnection) -> None:
        for post, rules, origin in self._waiting.pop(connection.id, ()):
            self._write(connection, post, rules, origin=origin)
        if connection.wanted.interval is not None:
            connection.finish("recovery_done")

    # Posts.

    def matching(self, post: Post) -> list[Rule]:
        """Return the rules in force that a post matches."""
        return self._matching(post)

    def _matching(self, post: Post) -> list[Rule]:
        if not len(self._rules):
            return []
        switch = self._settings.keyword_matches_hashtag
        return self._rules.index.match(facts(post, keyword_matches_hashtag=switch))

    def emit(self, post: Post, rules: list[Rule] | None = None) -> bool:
        """Send a post on its way; return whether it matches rules."""
        rules = self._matching(post) if rules is None else rules
        self.generated += 1
        self._store.add(post, self._clock.now())
        delay = self._delay()
        if delay <= 0:
            self._deliver(post, rules, "live")
        else:
            self._later(delay, post, rules, "live")
        self._matched += bool(rules)
        every = self.disorder.duplicate_every
        if rules and every and self._matched % every == 0:
            self._later(delay + self._random.uniform(0, 0.5), post, rules, "duplicate")
        return bool(rules)

    def _delay(self) -> float:
        disorder = self.disorder
        median = self._settings.delivery_lag_s
        lag = self._random.lognormvariate(math.log(median), LAG_SPREAD) if disorder.lag == "realistic" else 0.0
        late = disorder.out_of_order_s
        return lag + (self._random.uniform(0, late) if late else 0.0)

    def _later(self, delay: float, post: Post, rules: list[Rule], origin: Literal["live", "duplicate"]) -> None:
        self._after(delay, lambda: self._deliver(post, rules, origin))

    def _after(self, delay: float, act: Callable[[], None]) -> None:
        def run() -> None:
            self._delayed.discard(timer)
            act()

        timer = asyncio.get_running_loop().call_later(delay, run)
        self._delayed.add(timer)

    def _deliver(self, post: Post, rules: list[Rule], origin: Literal["live", "duplicate"]) -> None:
        reached = False
        for connection in self.live():
            if connection.wanted.interval is not None or not self._wants(connection, post, rules):
                continue
            reached = reached or connection.wanted.endpoint == FILTERED
            if connection.id in self._waiting:
                self._waiting[connection.id].append((post, rules, origin))
            else:
                self._write(connection, post, rules, origin=origin)
        if rules and not reached and origin == "live":
            self._log.add(
                "missed",
                post_id=post.id,
                connection=None,
                at=self._clock.now(),
                rule_ids=tuple(str(rule.id) for rule in rules),
                tags=tuple(rule.tag or "" for rule in rules),
                size=0,
            )

    def _wants(self, connection: StreamConnection, post: Post, rules: list[Rule]) -> bool:
        wanted = connection.wanted
        if connection.writer is not None:
            return False  # the feed is all it gets
        if wanted.endpoint == FILTERED:
            return bool(rules)
        if wanted.endpoint == "sample_stream":
            return sampled(post.id, self._settings.sample_percent)
        if wanted.endpoint == "sample10_stream" and not sampled(post.id, self._settings.sample10_percent):
            return False
        if wanted.language is not None and post.data["lang"] != wanted.language:
            return False
        partitions = next(s.partitions for s in STREAMS.values() if s.name == wanted.endpoint)
        return partitions is None or partition_of(post.id, partitions) == wanted.partition

    def _write(
        self,
        connection: StreamConnection,
        post: Post,
        rules: list[Rule],
        *,
        origin: Literal["live", "duplicate", "backfill", "recovery"],
    ) -> None:
        filtered = connection.wanted.endpoint == FILTERED
        line = self.line(post, connection.wanted.selection, rules if filtered else None)
        message = Message(
            post_id=post.id,
            line=line,
            rule_ids=tuple(str(rule.id) for rule in rules) if filtered else (),
            tags=tuple(rule.tag or "" for rule in rules) if filtered else (),
            origin=origin,
        )
        if self._over_cap(connection.id) or (filtered and self._silent()):
            self._log.add(
                "dropped",
                post_id=post.id,
                connection=connection.id,
                at=self._clock.now(),
                rule_ids=message.rule_ids,
                tags=message.tags,
                size=0,
                origin=origin,
            )
            return
        if connection.post(message):
            self._pay(connection, post.id)
        self._delivered += 1
        self.on_delivered(self._delivered)

    def write_line(self, post_id: int, line: bytes, rules: list[Rule]) -> None:
        """Write a line that was made elsewhere to all filtered streams, as a post."""
        for connection in self.live(FILTERED):
            message = Message(
                post_id=post_id,
                line=line,
                rule_ids=tuple(str(rule.id) for rule in rules),
                tags=tuple(rule.tag or "" for rule in rules),
            )
            connection.post(message)

    def line(self, post: Post, selection: Selection, rules: Iterable[Rule] | None) -> bytes:
        """Return a post as it stands on the wire, without the line end."""
        names = None
        if self.disorder.hostile:
            names = self.disorder.hostile.pop(0)
        elif self.disorder.always_hostile:
            names = self._random.choice(list(HOSTILITIES))
        spelling = Spelling(
            shuffled=self._settings.key_order == "shuffled",
            astral_escaped=self._settings.astral == "escaped",
            seed=self._settings.seed,
            hostile=HOSTILITIES[names] if names else None,
        )
        matching = None if rules is None else [rule.matching() for rule in rules]
        return spelling.line(post, selection, matching)

    def _silent(self) -> bool:
        """Tell whether the money has ended and nothing is said about it."""
        self._muted = self._muted and self._meter.shortage is not None
        return self._muted

    def _over_cap(self, connection: str) -> bool:
        limit = self._settings.profile.posts_per_s
        if not self._settings.delivery_cap or limit is None:
            return False
        second = int(asyncio.get_running_loop().time())
        if second != self._cap_second:
            self._cap_second = second
            self._cap_used.clear()
        used = self._cap_used[connection] = self._cap_used.get(connection, 0) + 1
        return used > limit

    # Money.

    def _pay(self, connection: StreamConnection, post_id: int) -> None:
        self._meter.bill_posts([post_id], users=int(connection.wanted.selection.bills_users))
        shortage = self._meter.shortage
        if shortage is None:
            return
        switch = self._settings.cap_end if shortage == "E429c" else self._settings.credits_end
        if switch == "disconnect":
            self.disconnect_all("operational", reason=shortage)
        elif switch == "silent":
            self._muted = True

    def disconnect_all(self, spelling: str, *, reason: str) -> None:
        """Write an in-stream error to each connection, and close it."""
        line = disconnect_line(spelling, {"host": self._settings.problem_host})
        for connection in self.live():
            connection.record.disconnect_reason = reason
            connection.line(line)
            connection.finish(reason)

    # The end.

    def stop(self) -> None:
        """End all connections cleanly; posts under way are let go."""
        for timer in self._delayed:
            timer.cancel()
        self._delayed.clear()
        for connection in self.live():
            connection.finish("stopped")


def partition_of(post_id: int, partitions: int) -> int:
    """Return the partition of a post, from 1; by a hash, for sequences are not even."""
    return (post_id * 0x9E3779B97F4A7C15 >> 32) % partitions + 1
