"""
What a connector does that asks X for the posts of its topic again: tombstones for those that are gone.

    topic ─▶ seen ─▶ old enough ─▶ Handover ─▶ X (reader thread) ─▶ convert ─▶ found: written down
                        ▲                                              ├─────▶ gone: a tombstone
                        └───────────── asked again, later ◀────────────┘ not clear

One request is under way at a time.  Until its answers are converted the same posts are wanted, whatever becomes of the
connection; and what X has said goes into the transaction of its tombstones.
"""

import time
from collections.abc import Callable, Sequence

from connector.compliance import rechecks
from connector.compliance.memory import Memory
from connector.records.record import Arrival, Converted, TaskId
from connector.records.snowflake import first_id
from connector.task.withdrawals import Recheck, Withdrawals, WithdrawalSettings, clock_ms

POSTS_AT_ONCE = 100
"""The most ids of a lookup (OpenAPI 2.167)."""

LATER_SECS = 600.0
"""When X is asked again for a post of which it has not said whether it is there."""

LATER_MAX = 10_000
"""If there are so many such posts, nothing else is asked."""


class Rechecks(Withdrawals):
    """Asks X for the posts of the topic at an age, once each."""

    def __init__(self, settings: WithdrawalSettings, recheck: Recheck, *, task: TaskId, dead_letters: bool) -> None:
        super().__init__(settings, task=task, dead_letters=dead_letters)
        self._recheck = recheck
        self._asked: set[int] = set()
        self._later: dict[int, float] = {}
        self._left: Callable[[], int | None] = lambda: None

    def spend_within(self, left: Callable[[], int | None]) -> None:
        """Ask for no more posts at once than *left* allows: X charges for each that it has."""
        self._left = left

    def convert(self, arrivals: Sequence[Arrival], *, source: bytes | None = None, until_id: int = 0) -> Converted:
        """Return what the answers in *arrivals* become."""
        memory = self._memory
        if memory is None:
            raise RuntimeError("An answer before the memory was loaded")
        result = Converted()
        for arrival in arrivals:
            for line in arrival.lines:
                self._hear(memory, line, source, result)
            if arrival.lines:
                result.newest_id = max(result.newest_id, first_id(int(arrival.at * 1000)))
        self._want_next(len(result.bought))
        return result

    def _hear(self, memory: Memory, line: bytes, source: bytes | None, result: Converted) -> None:
        answer = rechecks.read(line)
        post, says = answer.post, answer.says
        self._asked.discard(post)
        self._counts[says] = self._counts.get(says, 0) + 1
        if says == rechecks.FOUND:
            memory.checked(post)
            result.bought.append(post)
        elif says in rechecks.GONE:
            if memory.withdraw(post):
                memory.gone(post)
                result.records.append(self._tombstone(post, says, clock_ms(), source, line))
        else:
            self._later[post] = time.monotonic() + LATER_SECS

    def _seen(self) -> None:
        """As `Withdrawals._seen`: posts have come of age."""
        self._want_next(0)

    def _want_next(self, unbilled: int) -> None:
        """Hand over what X is to be asked next, unless answers are under way; *unbilled* posts are bought just now."""
        memory = self._memory
        if memory is not None and not self._asked:
            posts = self._next_of(memory, unbilled)
            self._asked = set(posts)
            self._recheck.handover.want(posts)  # none, too: a new connection would ask for the last ones again

    def _next_of(self, memory: Memory, unbilled: int) -> tuple[int, ...]:
        now, left = time.monotonic(), self._left()
        at_once = POSTS_AT_ONCE if left is None else min(POSTS_AT_ONCE, left - unbilled)
        self._later = {post: at for post, at in self._later.items() if at > now}
        if at_once <= 0 or len(self._later) >= LATER_MAX:
            return ()
        due = memory.due(self._recheck.age_ms, POSTS_AT_ONCE + len(self._later))
        return tuple([post for post in due if post not in self._later][:at_once])
