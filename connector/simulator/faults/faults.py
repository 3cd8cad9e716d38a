"""
Every fault by name.

To open connections: clean_close, no_last_chunk, rst, broken_chunk, stall, slow_reader, disconnect, bad_line,
partial_errors, hostile, withheld, rolling_restart.
To requests: refuse_tcp, unreachable, absent, and each problem by its name (E401, E402, E429b, ...), for `count`
requests or `seconds`, `on` a group of endpoints.
To the account: invalidate_token, rule_refusal, ghost, credit, spend_cap, usage_cap.
To posts on their way: duplicates, out_of_order.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from connector.simulator.faults.gate import Armed, Gate
from connector.simulator.faults.payloads import BAD_LINES, partial, withheld
from connector.simulator.faults.schedule import TIMES, Arguments, Schedule, UnknownFault
from connector.simulator.http.problems import PROBLEMS, disconnect_line
from connector.simulator.posts.rendering import HOSTILITIES, Selection
from connector.simulator.rules.store import Refusal, RuleStore
from connector.simulator.streams.endpoints import FILTERED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from connector.simulator.http.auth import Tokens
    from connector.simulator.meter import Meter
    from connector.simulator.posts.post import Post
    from connector.simulator.streams.connection import Ending, StreamConnection
    from connector.simulator.streams.streams import Streams


class Listener(Protocol):
    """What faults need of the simulator: the listening socket, and posts."""

    def refuse(self, seconds: float) -> None:
        """Refuse TCP connections for a while."""
        ...

    def make_post(self) -> Post:
        """Return a post that matches a rule, if a recipe for that rule is known."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    run: Callable[[Arguments], None]
    arguments: frozenset[str]


class Faults:
    """Runs faults, by name or by schedule."""

    def __init__(
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
    ) -> None:
        self._streams = streams
        self._gate = gate
        self._tokens = tokens
        self._rules = rules
        self._meter = meter
        self._listener = listener
        self._host = problem_host
        self._absent = absent
        self._schedule = Schedule(schedule, self._run)
        self._pending_cut: tuple[Ending, str] | None = None
        self.ran: list[str] = []
        self.table = self._table()
        for step in schedule:
            self._check(step)
        streams.on_opened = self._opened
        streams.delivery.on_delivered = self._schedule.delivered

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
            "partial_errors": (lambda _: self._emit(partial), ()),
            "withheld": (lambda _: self._emit(withheld), ()),
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
            name: _Fault(run=run, arguments=TIMES | {"fault", *arguments}) for name, (run, arguments) in faults.items()
        }

    # Running.

    def start(self) -> None:
        """Begin the schedule."""
        self._schedule.start()

    def stop(self) -> None:
        self._schedule.stop()

    def run(self, arguments: Arguments) -> None:
        """
        Run a fault now: `{"fault": name, ...}`.

        Raises:
            UnknownFault: there is no fault of that name, or the fault does not take one of the arguments.
        """
        self._check(arguments)
        self._run(arguments)

    def clear(self) -> None:
        """End every fault that lasts: armed answers, absent endpoints, ghosts, invalid tokens, disorder."""
        self._schedule.clear()
        self._pending_cut = None
        self._gate.clear()
        self._gate.absent.clear()
        self._gate.absent.update(self._absent)
        self._tokens.restore()
        self._rules.refusal = None
        self._streams.slots.free_ghosts()
        self._streams.disorder.clear()

    def _check(self, arguments: Arguments) -> None:
        name = arguments.get("fault")
        fault = self.table.get(str(name))
        if fault is None:
            raise UnknownFault(f"no fault {name!r}; there are: {', '.join(sorted(self.table))}")
        unknown = arguments.keys() - fault.arguments
        if unknown:
            raise UnknownFault(f"fault {name} takes no {', '.join(sorted(unknown))}")
        if name in ("absent", "credit", "spend_cap", "usage_cap"):
            (needed,) = fault.arguments - TIMES - {"fault"}
            if needed not in arguments:
                raise UnknownFault(f"fault {name} needs {needed}")

    def _run(self, arguments: Arguments) -> None:
        self.ran.append(arguments["fault"])
        self.table[arguments["fault"]].run(arguments)

    def _opened(self, connection: StreamConnection) -> None:
        if self._pending_cut is not None:
            connection.cut_next(*self._pending_cut)
            self._pending_cut = None

    # Open connections.

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
            self._pending_cut = ending, reason  # for the next client that connects

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
            whole = self._streams.delivery.line(post, Selection(), self._streams.matching(post))
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

    # Requests.

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
        self._streams.slots.add_ghost(arguments.get("endpoint", FILTERED), float(arguments.get("seconds", 60)))

    def _rolling_restart(self, arguments: Arguments) -> None:
        """Close one connection after the other, and answer requests for streams with 503 meanwhile."""
        pause = float(arguments.get("pause", 0.05))
        line = disconnect_line("operational", {"host": self._host})

        def restart(connection: StreamConnection) -> None:
            connection.line(line)
            connection.finish("rolling_restart")

        for number, connection in enumerate(self._streams.live()):
            self._schedule.later(number * pause, functools.partial(restart, connection))
        self._arm("E503b", {"seconds": arguments.get("seconds", 1.0)})

    def _duplicates(self, arguments: Arguments) -> None:
        self._streams.disorder.duplicate_every = int(arguments.get("every", 2))

    def _out_of_order(self, arguments: Arguments) -> None:
        self._streams.disorder.out_of_order_s = float(arguments.get("seconds", 1.0))
