"""
What goes wrong?  Every fault by name, by schedule or on demand.

On live connections: clean_close, no_last_chunk, rst, broken_chunk, stall,
slow_reader, disconnect, bad_line, partial_errors, hostile, withheld.
At the door, for `count` requests or `seconds`, `on` a group of endpoints: the
problems by name (E401, E402, E429b, ...), refuse_tcp, unreachable, absent.
In the account: invalidate_token, rule_refusal, ghost, credit, spend_cap,
usage_cap, rolling_restart.  On the way of posts: duplicates, out_of_order.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from connector.simulator.faults.gate import Armed, Gate
from connector.simulator.http.problems import PROBLEMS, disconnect_line
from connector.simulator.posts.rendering import HOSTILITIES, Selection
from connector.simulator.rules.store import Refusal, RuleStore
from connector.simulator.streams.streams import FILTERED, Streams

if TYPE_CHECKING:
    from connector.simulator.http.auth import Tokens
    from connector.simulator.http.limits import Meter
    from connector.simulator.posts.post import Post
    from connector.simulator.streams.connection import Ending, StreamConnection


class UnknownFault(Exception):
    """There is no fault of that name, or it does not take that argument."""


class Listener(Protocol):
    """The listening socket, and the posts that faults need."""

    def refuse(self, seconds: float) -> None:
        """Refuse TCP connections for a while."""
        ...

    def make_post(self) -> Post:
        """Return a post that matches a rule held, if that is easy."""
        ...


Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    run: Callable[[Arguments], None]
    arguments: frozenset[str]


BAD_LINES: Mapping[str, bytes] = {
    "not_json": b"<html><body>Over capacity</body></html>",
    "no_id": b'{"data":{"text":"a post without an id"},"matching_rules":[{"id":"1","tag":""}]}',
    "unknown_kind": b'{"notice":{"kind":"synthetic","value":1}}',
    "not_object": b"[1,2,3]",
    "not_utf8": b'{"data":{"id":"1","text":"\xff\xfe"}}',
}

COMPLIANCE = {"copyright": False, "country_codes": ["FR", "DE"], "scope": "tweet"}


class Faults:
    """Runs faults by name; keeps the schedule."""

    def __init__(  # noqa: PLR0913 - faults reach everywhere
        self,
        *,
        schedule: tuple[Arguments, ...],
        streams: Streams,
        gate: Gate,
        tokens: Tokens,
        rules: RuleStore,
        meter: Meter,
        listener: Listener,
        problem_host: str,
        absent: frozenset[str],
        seed: int,
    ) -> None:
        self._schedule = schedule
        self._streams = streams
        self._gate = gate
        self._tokens = tokens
        self._rules = rules
        self._meter = meter
        self._listener = listener
        self._host = problem_host
        self._absent = absent
        self._random = random.Random(seed)
        self._timers: set[asyncio.TimerHandle] = set()
        self._after: list[tuple[int, Arguments]] = []
        self._pending_cut: tuple[Ending, str] | None = None
        self.ran: list[str] = []
        self.table = self._table()
        for step in schedule:
            self._check(step)
        streams.on_opened = self._opened
        streams.on_delivered = self._delivered

    def _table(self) -> Mapping[str, _Fault]:
        to = "connection"
        door = "count", "seconds", "on", "reset"
        faults: dict[str, tuple[Callable[[Arguments], None], tuple[str, ...]]] = {
            "clean_close": (lambda a: self._each(a, lambda c: c.finish("clean_close")), (to,)),
            "no_last_chunk": (self._no_last_chunk, (to, "mid_line")),
            "rst": (self._rst, (to, "mid_line")),
            "broken_chunk": (lambda a: self._each(a, lambda c: c.break_chunk("broken_chunk")), (to,)),
            "stall": (lambda a: self._each(a, lambda c: c.stall(a.get("seconds", 30.0))), (to, "seconds")),
            "slow_reader": (lambda a: self._each(a, lambda c: c.abort("slow_reader")), (to,)),
            "disconnect": (self._disconnect, (to, "spelling")),
            "bad_line": (self._bad_line, (to, "variant")),
            "partial_errors": (lambda _: self._emit(_partial), ()),
            "withheld": (lambda _: self._emit(_withheld), ()),
            "hostile": (self._hostile, ("variant", "count")),
            "refuse_tcp": (lambda a: self._listener.refuse(a.get("seconds", 1.0)), ("seconds",)),
            "unreachable": (self._unreachable, ("seconds",)),
            "absent": (lambda a: self._gate.absent.add(a["endpoint"]), ("endpoint",)),
            "invalidate_token": (lambda _: self._tokens.invalidate(), ()),
            "rule_refusal": (self._rule_refusal, ("count", "details")),
            "ghost": (self._ghost, ("seconds", "endpoint")),
            "credit": (lambda a: setattr(self._meter, "balance_usd", float(a["usd"])), ("usd",)),
            "spend_cap": (lambda a: setattr(self._meter, "spend_cap_usd", float(a["usd"])), ("usd",)),
            "usage_cap": (lambda a: setattr(self._meter, "usage_cap", int(a["reads"])), ("reads",)),
            "rolling_restart": (self._rolling_restart, ("seconds", "pause")),
            "duplicates": (self._duplicates, ("every",)),
            "out_of_order": (self._out_of_order, ("seconds",)),
        }
        for name in PROBLEMS:
            faults[name] = (lambda a, name=name: self._arm(name, a), door)  # type: ignore[misc]
        return {
            name: _Fault(run=run, arguments=frozenset({"fault", "at", "after_posts", *arguments}))
            for name, (run, arguments) in faults.items()
        }

    # Running.

    def start(self) -> None:
        """Begin the schedule: its times count from now."""
        loop = asyncio.get_running_loop()
        for step in self._schedule:
            if "after_posts" in step:
                self._after.append((int(step["after_posts"]), step))
            else:
                self._timers.add(loop.call_later(float(step.get("at", 0)), self._run, step))
        self._after.sort(key=lambda entry: entry[0])

    def stop(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def run(self, arguments: Arguments) -> None:
        """
        Run a fault now: `{"fault": name, ...}`.

        Raises:
            UnknownFault: there is none of that name, or it does not take an argument.
        """
        self._check(arguments)
        self._run(arguments)

    def clear(self) -> None:
        """Take back all that lasts: armed answers, absent endpoints, ghosts, tokens."""
        self.stop()
        self._after.clear()
        self._pending_cut = None
        self._gate.clear()
        self._gate.absent.clear()
        self._gate.absent.update(self._absent)
        self._tokens.restore()
        self._rules.refusal = None
        self._streams.exorcise()
        self._streams.disorder.hostile.clear()
        self._streams.disorder.duplicate_every = 0
        self._streams.disorder.out_of_order_s = 0

    def _check(self, arguments: Arguments) -> None:
        name = arguments.get("fault")
        fault = self.table.get(str(name))
        if fault is None:
            raise UnknownFault(f"no fault {name!r}; there are: {', '.join(sorted(self.table))}")
        unknown = arguments.keys() - fault.arguments
        if unknown:
            raise UnknownFault(f"fault {name} takes no {', '.join(sorted(unknown))}")
        if name in ("absent", "credit", "spend_cap", "usage_cap"):
            (needed,) = fault.arguments - {"fault", "at", "after_posts"}
            if needed not in arguments:
                raise UnknownFault(f"fault {name} needs {needed}")

    def _run(self, arguments: Arguments) -> None:
        self.ran.append(arguments["fault"])
        self.table[arguments["fault"]].run(arguments)

    def _opened(self, connection: StreamConnection) -> None:
        if self._pending_cut is not None:
            connection.cut_next(*self._pending_cut)
            self._pending_cut = None

    def _delivered(self, count: int) -> None:
        while self._after and self._after[0][0] <= count:
            _, step = self._after.pop(0)
            # Not inside the write that brought us here.
            loop = asyncio.get_running_loop()
            loop.call_soon(self._run, step)

    # Live connections.

    def _chosen(self, arguments: Arguments) -> list[StreamConnection]:
        wanted = arguments.get("connection")
        return [c for c in self._streams.live() if wanted in (None, c.id)]

    def _each(self, arguments: Arguments, act: Callable[[StreamConnection], None]) -> None:
        for connection in self._chosen(arguments):
            act(connection)

    def _rst(self, arguments: Arguments) -> None:
        self._sever(arguments, "reset", "rst", lambda c: c.reset("rst"))

    def _no_last_chunk(self, arguments: Arguments) -> None:
        self._sever(arguments, "cut", "no_last_chunk", lambda c: c.cut("no_last_chunk"))

    def _sever(
        self, arguments: Arguments, ending: Ending, reason: str, at_once: Callable[[StreamConnection], None]
    ) -> None:
        if not arguments.get("mid_line"):
            self._each(arguments, at_once)
            return
        chosen = self._chosen(arguments)
        for connection in chosen:
            connection.cut_next(ending, reason)
        if not chosen:
            self._pending_cut = ending, reason  # for whoever connects next

    def _disconnect(self, arguments: Arguments) -> None:
        line = disconnect_line(arguments.get("spelling", "upstream"), {"host": self._host})

        def say_and_close(connection: StreamConnection) -> None:
            connection.line(line)
            connection.finish("disconnect")

        self._each(arguments, say_and_close)

    def _bad_line(self, arguments: Arguments) -> None:
        variant = arguments.get("variant", "not_json")
        if variant == "truncated":
            post = self._listener.make_post()
            whole = self._streams.line(post, Selection(), self._streams.matching(post))
            raw = whole[: len(whole) // 2]
        elif variant in BAD_LINES:
            raw = BAD_LINES[variant]
        else:
            raise UnknownFault(f"bad_line has no variant {variant!r}; there are: truncated, {', '.join(BAD_LINES)}")
        self._each(arguments, lambda c: c.line(raw))

    def _emit(self, change: Callable[[Post], Post]) -> None:
        self._streams.emit(change(self._listener.make_post()))

    def _hostile(self, arguments: Arguments) -> None:
        variant = arguments.get("variant")
        if variant is not None and variant not in HOSTILITIES:
            raise UnknownFault(f"hostile has no variant {variant!r}; there are: {', '.join(HOSTILITIES)}")
        names = list(HOSTILITIES) if variant is None else [variant]
        for number in range(int(arguments.get("count", len(names)))):
            self._streams.disorder.hostile.append(names[number % len(names)])

    # At the door.

    def _arm(self, name: str, arguments: Arguments) -> None:
        seconds = arguments.get("seconds")
        count = arguments.get("count", 1 if seconds is None else None)
        self._gate.arm(
            Armed(
                name=name,
                problem=PROBLEMS[name],
                on=arguments.get("on", "streams"),
                count=count,
                until=None if seconds is None else time.monotonic() + float(seconds),
                rate_headers=bool(arguments.get("reset", True)),
            )
        )

    def _unreachable(self, arguments: Arguments) -> None:
        seconds = float(arguments.get("seconds", 1.0))
        self._gate.unreachable_until = time.monotonic() + seconds
        self._each(arguments, lambda c: c.stall(seconds))

    # The account.

    def _rule_refusal(self, arguments: Arguments) -> None:
        details = arguments.get("details", ["Operator is not available in current product or product packaging."])
        self._rules.refusal = Refusal(count=int(arguments.get("count", 1)), details=list(details))

    def _ghost(self, arguments: Arguments) -> None:
        self._streams.haunt(arguments.get("endpoint", FILTERED), float(arguments.get("seconds", 60)))

    def _rolling_restart(self, arguments: Arguments) -> None:
        """Close each connection in turn, and answer 503 meanwhile."""
        pause = float(arguments.get("pause", 0.05))
        line = disconnect_line("operational", {"host": self._host})
        loop = asyncio.get_running_loop()

        def restart(connection: StreamConnection) -> None:
            connection.line(line)
            connection.finish("rolling_restart")

        for number, connection in enumerate(self._streams.live()):
            self._timers.add(loop.call_later(number * pause, restart, connection))
        self._arm("E503b", {"seconds": arguments.get("seconds", 1.0)})

    def _duplicates(self, arguments: Arguments) -> None:
        self._streams.disorder.duplicate_every = int(arguments.get("every", 2))

    def _out_of_order(self, arguments: Arguments) -> None:
        self._streams.disorder.out_of_order_s = float(arguments.get("seconds", 1.0))


def _partial(post: Post) -> Post:
    """Return a post that answers one which cannot be found."""
    missing = str(post.id - (1 << 40))
    error = {
        "value": missing,
        "detail": f"Could not find tweet with referenced_tweets.id: [{missing}].",
        "title": "Not Found Error",
        "resource_type": "tweet",
        "parameter": "referenced_tweets.id",
        "resource_id": missing,
        "type": "https://api.twitter.com/2/problems/resource-not-found",
    }
    data = {**post.data, "referenced_tweets": [{"type": "replied_to", "id": missing}]}
    return replace(post, data=data, references=(), errors=(error,))


def _withheld(post: Post) -> Post:
    return replace(post, data={**post.data, "withheld": COMPLIANCE})


def parse_schedule(raw: bytes) -> tuple[Arguments, ...]:
    """
    Read a schedule: a JSON list of objects with `fault`, and `at` or `after_posts`.

    Raises:
        UnknownFault: it is no such list.
    """
    try:
        steps = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise UnknownFault(f"the schedule is not JSON: {error}") from None
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise UnknownFault("the schedule is not a list of objects")
    return tuple(steps)
