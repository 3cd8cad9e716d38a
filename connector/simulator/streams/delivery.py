"""The last step of a post: whether a connection gets the post, as which line, and at which price."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from connector.simulator.posts.post import Post, facts
from connector.simulator.posts.rendering import Selection, Spelling
from connector.simulator.rules.matching import sampled
from connector.simulator.streams.endpoints import COMPLIANCE, FILTERED, PARTITIONS, SAMPLE, SAMPLE10, partition_of
from connector.simulator.streams.messages import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from connector.simulator.clock import Clock
    from connector.simulator.meter import Meter
    from connector.simulator.rules.store import Rule, RuleStore
    from connector.simulator.settings import SimulatorSettings
    from connector.simulator.streams.connection import StreamConnection
    from connector.simulator.streams.disorder import Disorder
    from connector.simulator.streams.emissions import EmissionLog, Origin
    from connector.simulator.streams.slots import Slots


class Delivery:
    """Writes posts to connections, and bills the posts."""

    def __init__(
        self,
        settings: SimulatorSettings,
        *,
        clock: Clock,
        rules: RuleStore,
        meter: Meter,
        log: EmissionLog,
        slots: Slots,
        disorder: Disorder,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._rules = rules
        self._meter = meter
        self._log = log
        self._slots = slots
        self._disorder = disorder
        self._delivered = 0
        self._muted = False
        self._cap_second = 0
        self._cap_used: dict[str, int] = {}
        self.on_delivered: Callable[[int], None] = lambda _: None

    def matching(self, post: Post) -> list[Rule]:
        """Return the rules in force that a post matches."""
        if not len(self._rules):
            return []
        switch = self._settings.keyword_matches_hashtag
        return self._rules.index.match(facts(post, keyword_matches_hashtag=switch))

    def wants(self, connection: StreamConnection, post: Post, rules: list[Rule]) -> bool:
        """Tell whether a post that matches *rules* belongs on a connection."""
        wanted = connection.wanted
        if connection.writer is not None or wanted.endpoint in COMPLIANCE:
            return False  # such a connection gets the feed alone, or no posts
        if wanted.endpoint == FILTERED:
            return bool(rules)
        if wanted.endpoint == SAMPLE:
            return sampled(post.id, self._settings.sample_percent)
        if wanted.endpoint == SAMPLE10 and not sampled(post.id, self._settings.sample10_percent):
            return False
        if wanted.language is not None and post.data["lang"] != wanted.language:
            return False
        partitions = PARTITIONS[wanted.endpoint]
        return partitions is None or partition_of(post.id, partitions) == wanted.partition

    def write(self, connection: StreamConnection, post: Post, rules: list[Rule], *, origin: Origin) -> None:
        """Write a post to a connection and bill the post, or log that it is dropped."""
        filtered = connection.wanted.endpoint == FILTERED
        line = self.line(post, connection.wanted.selection, rules if filtered else None)
        message = _message(post.id, line, rules if filtered else [], origin=origin)
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
        """Write a prepared line to all filtered streams, and log it as a post."""
        for connection in self._slots.live(FILTERED):
            connection.post(_message(post_id, line, rules))

    def miss(self, post: Post, rules: list[Rule]) -> None:
        """Log a post that matches rules and reaches no connection."""
        self._log.add(
            "missed",
            post_id=post.id,
            connection=None,
            at=self._clock.now(),
            rule_ids=tuple(str(rule.id) for rule in rules),
            tags=tuple(rule.tag or "" for rule in rules),
            size=0,
        )

    def line(self, post: Post, selection: Selection, rules: Iterable[Rule] | None) -> bytes:
        """Return the line of a post, without the line end; *rules* is none on volume streams."""
        spelling = Spelling(
            shuffled=self._settings.key_order == "shuffled",
            astral_escaped=self._settings.astral == "escaped",
            seed=self._settings.seed,
            hostile=self._disorder.next_hostility(),
        )
        matching = None if rules is None else [rule.matching() for rule in rules]
        return spelling.line(post, selection, matching)

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
            self._slots.disconnect_all("operational", reason=shortage)
        elif switch == "silent":
            self._muted = True

    def _silent(self) -> bool:
        """Tell whether filtered streams are silent because the money has ended."""
        self._muted = self._muted and self._meter.shortage is not None
        return self._muted


def _message(post_id: int, line: bytes, rules: list[Rule], *, origin: Origin = "live") -> Message:
    return Message(
        post_id=post_id,
        line=line,
        rule_ids=tuple(str(rule.id) for rule in rules),
        tags=tuple(rule.tag or "" for rule in rules),
        origin=origin,
    )
