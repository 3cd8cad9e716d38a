"""
The simulator, put together: the one place that wires.

    async with Simulator(SimulatorSettings(rate=100)) as sim:
        ...  # sim.url, sim.settings.token

`thread` runs a simulator for a synchronous test or beside a blocking client.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Self

from connector.simulator.account import Account
from connector.simulator.api import Api
from connector.simulator.clock import Clock, SystemClock
from connector.simulator.control import Control
from connector.simulator.faults.faults import Faults
from connector.simulator.faults.gate import Gate
from connector.simulator.http.answers import Answers
from connector.simulator.http.auth import Tokens
from connector.simulator.http.limits import RateWindows
from connector.simulator.http.wire import Request, Response, Silence, Takeover, Wires
from connector.simulator.meter import Meter
from connector.simulator.posts.generator import Generator
from connector.simulator.posts.lookup import Lookup
from connector.simulator.posts.recipes import Recipe, recipe_for
from connector.simulator.posts.samples import stamped
from connector.simulator.posts.search import Search
from connector.simulator.posts.store import PostStore
from connector.simulator.rules.store import Rule, RuleStore
from connector.simulator.settings import SimulatorSettings
from connector.simulator.streams.compliance import POST_KINDS, USER_KINDS
from connector.simulator.streams.emissions import ConnectionRecord, EmissionLog
from connector.simulator.streams.feed import Feed
from connector.simulator.streams.pacing import Pacer
from connector.simulator.streams.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from connector.simulator.posts.post import Post

STOP_TIMEOUT_S = 2.0
TRIES = 8
"""How often another post is made when a post matches no rule."""


class UnknownCompliance(ValueError):
    """There is no compliance event of that kind."""


class Simulator:
    """
    A stand-in for the X API v2 on a port of this machine.

    Call its methods only in the event loop that started the simulator.
    """

    def __init__(self, settings: SimulatorSettings | None = None, *, clock: Clock | None = None) -> None:
        self.settings = settings = settings or SimulatorSettings()
        self.clock = clock = clock or SystemClock()
        self.emissions = EmissionLog(kept=settings.emissions_kept, path=settings.emissions_log)
        self.rules = RuleStore(settings, clock)
        self.meter = Meter(settings, clock)
        self.windows = RateWindows(settings, clock)
        self.tokens = Tokens(settings)
        self.gate = Gate(absent=set(settings.absent))
        self.store = PostStore(capacity=settings.store_posts, days=settings.store_days)
        self.generator = Generator(settings)
        self._random = random.Random(settings.seed)
        self.streams = Streams(
            settings, clock=clock, rules=self.rules, store=self.store, meter=self.meter, log=self.emissions
        )
        self.faults = Faults(
            schedule=tuple(settings.faults),
            streams=self.streams,
            gate=self.gate,
            tokens=self.tokens,
            rules=self.rules,
            meter=self.meter,
            listener=self,
            problem_host=settings.problem_host,
            absent=settings.absent,
        )
        answers = Answers(settings)
        self._api = Api(
            settings=settings,
            clock=clock,
            answers=answers,
            gate=self.gate,
            tokens=self.tokens,
            windows=self.windows,
            meter=self.meter,
            rules=self.rules,
            streams=self.streams,
            search=Search(settings, clock=clock, store=self.store, meter=self.meter),
            lookup=Lookup(settings, store=self.store),
            account=Account(settings, clock=clock, slots=self.streams.slots, log=self.emissions, meter=self.meter),
        )
        self._control = Control(self)
        self._pacer = Pacer(self._emit_due, rate=settings.rate, bursts=settings.bursts)
        self.feed = (
            Feed(settings, clock=clock, generator=self.generator, rules=self.rules, streams=self.streams)
            if settings.feed
            else None
        )
        self._wires = Wires(handler=self._handle, send_bytes=settings.socket_send_bytes)
        self._server: asyncio.Server | None = None
        self._reopening: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = settings.port

    # Life.

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """
        Listen, and begin to post.

        Raises:
            OSError: the port is taken.
        """
        await self._listen()
        self.emissions.open()
        if self.feed is None:
            self._pacer.start()
        self.faults.start()

    async def stop(self) -> None:
        """End all connections and all timers; may be called again."""
        self._pacer.stop()
        self.faults.stop()
        if self._reopening is not None:
            self._reopening.cancel()
        for task in list(self._tasks):
            task.cancel()
        if self._server is not None:
            self._server.close()
            self._server = None
        self.streams.stop()
        for wire in list(self._wires.open):
            wire.close()
        try:
            await asyncio.wait_for(self._wires.idle.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            # A client does not read: its last bytes are lost.
            for wire in list(self._wires.open):
                wire.abort()
            await self._wires.idle.wait()
        self.emissions.close()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._wires.accept, self.settings.host, self.port, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://{self.settings.host}:{self.port}"

    @property
    def connections(self) -> list[ConnectionRecord]:
        """All stream connections since the start, the oldest first."""
        return self.emissions.connections

    def _handle(self, request: Request) -> Response | Takeover | Silence:
        if request.path.startswith("/control/"):
            return self._control.handle(request)
        return self._api.handle(request)

    # Posts.

    @property
    def rate(self) -> float:
        """Posts a second; with `match_rules`, posts a second that match a rule."""
        return self._pacer.rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._pacer.rate = rate

    def _emit_due(self) -> None:
        self.emit_one()

    def emit_one(self) -> Post:
        """
        Post a new post; with `match_rules`, a post that matches a rule if the simulator can make such a post.

        Posts that were made in search of a matching post, and match nothing, are posted as well.
        """
        following = self.settings.match_rules and len(self.rules) > 0
        post, rules = self._next()
        for _ in range(TRIES):
            if rules or not following:
                break
            self.streams.emit(post, rules)
            post, rules = self._next()
        self.streams.emit(post, rules)
        return post

    def _next(self) -> tuple[Post, list[Rule]]:
        recipe: Recipe | None = None
        if self.settings.match_rules and self._random.random() < self.settings.match_share:
            held = self.rules.active()
            recipe = recipe_for(self._random.choice(held).node, self._random) if held else None
        post = self.generator.post(self.clock.now(), recipe)
        return post, self.streams.matching(post)

    def make_post(self) -> Post:
        """Return a new post without posting it; the post matches a rule if the simulator can make such a post."""
        for _ in range(TRIES):
            post, rules = self._next()
            if rules:
                break
        return post

    async def emit(self, count: int = 1) -> list[str]:
        """Call `emit_one` *count* times; return the ids of the posts that it returned."""
        ids = []
        for number in range(count):
            ids.append(str(self.emit_one().id))
            if number % 100 == 99:  # noqa: PLR2004 - let connections write
                await asyncio.sleep(0)
        return ids

    def emit_post(self, text: str, *, lang: str = "en", author: str | None = None, kind: str | None = None) -> str:
        """Post a text and return the id of the post; rules decide who gets the post."""
        recipe = Recipe(text=text, lang=lang, author=author, kind=kind)
        post = self.generator.post(self.clock.now(), recipe)
        self.streams.emit(post)
        return str(post.id)

    def emit_sample(self, kind: str) -> str:
        """
        Write a recorded shape with a new id to all filtered streams; return the id.

        Raises:
            UnknownSample: there is no sample of that kind.
        """
        now = self.clock.now()
        post_id = self.generator.new_id(now)
        rules = self.rules.active()
        line = stamped(kind, post_id=post_id, at=now, rules=[rule.matching() for rule in rules])
        self.streams.delivery.write_line(post_id, line, rules)
        return str(post_id)

    # What is withdrawn.

    def delete_post(self, post_id: str) -> None:
        """Delete a post: search and lookup find it no more, and the compliance stream tells it."""
        post = self.store.remove(int(post_id))
        author = None if post is None else str(post.data["author_id"])
        self.streams.compliance.post("delete", post_id, author=author)

    def delete_user(self, name_or_id: str, *, kind: str = "user_delete") -> list[str]:
        """
        Delete a user, or another *kind* of event after which nobody may see the user's posts; return their ids.

        An event that brings posts back at X does not bring them back here.
        """
        user = self.user_id(name_or_id)
        gone = self.store.of_author(user)
        for post_id in gone:
            self.store.remove(post_id)
        self.streams.compliance.user(kind, user)
        return [str(post_id) for post_id in gone]

    def user_id(self, name_or_id: str) -> str:
        """Return the id of a user, who joins if there is none of that name."""
        return str(self.generator.user(name_or_id)["id"])

    def comply(self, kind: str, subject: str, more: Mapping[str, Any] | None = None) -> None:
        """
        Write an event of *kind* about a post or a user to the compliance stream; nothing else changes.

        Raises:
            UnknownCompliance: there is no event of that kind.
        """
        if kind in POST_KINDS:
            try:
                author = str(self.store.get(int(subject)).data["author_id"])
            except KeyError:
                author = None
            self.streams.compliance.post(kind, subject, author=author, more=more)
        elif kind in USER_KINDS:
            self.streams.compliance.user(kind, self.user_id(subject), more)
        else:
            raise UnknownCompliance(f"kind is one of {', '.join(sorted(POST_KINDS | USER_KINDS))}")

    # Faults.

    async def fault(self, name: str, **arguments: Any) -> None:
        """
        Run a fault now.

        Raises:
            UnknownFault: there is no fault of that name, or the fault does not take one of the arguments.
        """
        self.faults.run({"fault": name, **arguments})
        await asyncio.sleep(0)

    def clear_faults(self) -> None:
        self.faults.clear()

    def refuse(self, seconds: float) -> None:
        """Refuse TCP connections for a while, and reset all open connections."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for connection in self.streams.live():
            connection.reset("refuse_tcp")
        for wire in list(self._wires.open):
            wire.reset()
        loop = asyncio.get_running_loop()
        self._reopening = loop.call_later(seconds, self._reopen)

    def _reopen(self) -> None:
        task = asyncio.get_running_loop().create_task(self._listen())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
