"""The source of a task: token, rules, connection and account for one part of one stream, behind one interface."""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf

from connector.errors import ConnectorError, RetriableError, RulesMissing, TokenRejected
from connector.records.record import Arrival, Connected, HeldRule, SourcePartition
from connector.sources.handles import Handle, Released
from connector.sources.http.wire import Wire
from connector.sources.rest import rules
from connector.sources.rest.account import Account, find_own
from connector.sources.rest.api import Api, parse_problem
from connector.sources.rest.credentials import Credentials
from connector.sources.rest.rules import Rule, RuleChange, Wanted
from connector.sources.stream.connection import DEFAULT_LIMITS, Connection, Limits
from connector.sources.stream.streams import Stream, number_of
from connector.telemetry.events.event import Event
from connector.telemetry.events.sources import (
    FeatureUnavailable,
    RulesChanged,
    StreamErrorReceived,
    StreamErrorRepeated,
    TokenFetched,
)

SAY_SECS = 60.0
"""The shortest time between two `StreamErrorReceived` events; error lines in between are only counted."""


@dataclass(kw_only=True, eq=False)
class StreamSource:
    """
    The X end of one source partition; each `read` makes one connection.

    A source that was stopped cannot read again; make a new one.
    """

    connector: str
    """The connector of which events of the connection and the account speak."""
    stream: Stream
    partition: SourcePartition
    url: str
    credentials: Credentials = field(repr=False)
    parameters: Mapping[str, str]
    """
    Query parameters of the connect: fields and expansions, each a comma-separated list.

    A replay of an interval also has `start_time` and `end_time`.
    """
    wanted: Wanted
    """The rules that X should hold, by connector; unused for a stream without rules."""
    emit: Callable[[Event], None] = field(repr=False)
    """Called from any thread."""
    limits: Limits = DEFAULT_LIMITS
    rules: tuple[HeldRule, ...] = field(default=(), init=False)
    """
    All rules that X held after the rules were last applied, those of other programs included.

    The stream delivers the posts that match any of them.
    """
    _applied: tuple[RuleChange, Wanted] = field(default=(RuleChange(), {}), init=False, repr=False)
    _again: frozenset[str] = field(default=frozenset(), init=False, repr=False)
    _applying: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _wires: set[Wire] = field(default_factory=set, init=False, repr=False)
    _reading: Wire | None = field(default=None, init=False, repr=False)
    _stopped: bool = field(default=False, init=False, repr=False)
    _connected_at: float | None = field(default=None, init=False, repr=False)  # X's clock
    _error_said_at: float = field(default=-inf, init=False, repr=False)
    _said: set[object] = field(default_factory=set, init=False, repr=False)  # news that was told already

    def want(self, wanted: Wanted) -> None:
        """Let X hold these rules after the next `prepare`; a connection that is open stays open.  Event loop."""
        self.wanted = wanted

    def prepare(self) -> frozenset[str]:
        """
        Get a token, and make X hold the rules *wanted*.  Executor thread, also while a connection is open.

        Return the connectors for which X did not hold a rule meanwhile that it was to hold before.

        Raises:
            ConnectorError: X refuses, or cannot be reached; `ConnectionLost` also after `stop`.
        """
        with self._rest() as api:
            api.token()
            self._apply_rules(api)
        return self._again

    def rules_of(self, connector: str) -> tuple[HeldRule, ...]:
        """
        Return the rules whose posts are for *connector*, as X held them after the rules were last applied.

        A value that other connectors or programs want too may have their tag.
        """
        change, wanted = self._applied
        return tuple(map(_held, change.held_for(connector, wanted.get(connector, {}))))

    def read(
        self,
        put: Callable[[Arrival], None],
        connected: Callable[[Connected], None],
        *,
        backfill_minutes: int | None = None,
    ) -> None:
        """
        Make one connection and put what arrives, until the connection ends.  Reader thread.

        Two refusals are cured here, each once, and followed by another connect: a token from a key pair that X no
        longer accepts is fetched again, and rules that are missing at X are added again.

        Returns only when stopped, or when X has sent the whole interval up to `end_time`.

        Raises:
            TokenRejected: X refuses the token, and the new one too if it could be fetched.
            RulesMissing: X has no rules, and adding them again did not help.
            ConnectorError: how the connection ended, or why it could not be made.
        """
        try:
            self._read(self._query(backfill_minutes), put, connected)
        except ConnectorError:
            if not self._stopped:
                raise

    def stop(self) -> None:
        """End `read` and `prepare` at once, even if they block.  Any thread; idempotent."""
        with self._lock:
            self._stopped = True
            for wire in self._wires:
                wire.cut()

    def ask(self, parameters: Mapping[str, str]) -> None:
        """Ask for other fields and expansions from the next connect on.  Event loop."""
        self.parameters = parameters

    def hang_up(self) -> None:
        """End the `read` that is running, which then returns; another one may follow.  Any thread."""
        with self._lock:
            if self._reading is not None:
                self._reading.cut()

    def find_connection(self) -> str | None:
        """
        Return X's id of the open connection; None if none is open, or X does not tell which it is.  Executor thread.

        Raises:
            ConnectorError: X cannot be reached.
        """
        if (at := self._connected_at) is None:
            return None
        with self._rest(after_stop=True) as api:
            held = Account(api, self._unavailable).connections(self.stream.endpoint)
        return find_own(held, at) if held else None

    def release(self, connections: Collection[Handle]) -> Released:
        """
        End those of *connections* that X still holds.  Executor thread.

        A connection that is named by its time is ended only if X lists exactly one that was opened then.  The result is
        empty if X does not have the endpoint, or refuses.

        Raises:
            ConnectorError: X cannot be reached.
        """
        with self._rest(after_stop=True) as api:
            account = Account(api, self._unavailable)
            held = account.connections(self.stream.endpoint)
            if held is None:
                return Released()
            listed = {connection.id for connection in held}
            ids = {handle: handle if isinstance(handle, str) else find_own(held, handle) for handle in connections}
            there = {handle: id_ for handle, id_ in ids.items() if id_ in listed}
            ended = {handle for handle, id_ in there.items() if id_ and account.end([id_])}
            return Released(ended=ended, absent=ids.keys() - there.keys())

    # -- inside

    def _query(self, backfill_minutes: int | None) -> dict[str, str | int]:
        query: dict[str, str | int] = dict(self.parameters)
        if (number := number_of(self.partition)) is not None:
            query["partition"] = number
        if backfill_minutes and self.stream.has_backfill:
            query["backfill_minutes"] = backfill_minutes
        return query

    def _read(
        self,
        query: Mapping[str, str | int],
        put: Callable[[Arrival], None],
        connected: Callable[[Connected], None],
    ) -> None:
        cured: set[type[ConnectorError]] = set()
        while not self._stopped:
            token = ""
            try:
                with self._rest() as api:
                    token = api.token()
                self._read_once(token, query, put, connected)
            except (TokenRejected, RulesMissing) as error:
                if type(error) in cured or not self._cure(error, token):
                    raise
                cured.add(type(error))
            else:
                return

    def _read_once(
        self,
        token: str,
        query: Mapping[str, str | int],
        put: Callable[[Arrival], None],
        connected: Callable[[Connected], None],
    ) -> None:
        with self._wire() as wire:
            self._reading = wire
            connection = Connection(
                self.url.rstrip("/") + self.stream.path,
                token,
                query,
                wire=wire,
                limits=self.limits,
                remark=self._remark,
            )

            def on_connected(now: Connected) -> None:
                self._connected_at = connection.date
                connected(now)

            try:
                connection.read(put, on_connected)
            finally:
                self._connected_at = self._reading = None

    def _remark(self, line: bytes) -> None:
        now = time.monotonic()
        is_news = now - self._error_said_at >= SAY_SECS
        if is_news:
            self._error_said_at = now
        problem = parse_problem(line)
        kind = StreamErrorReceived if is_news else StreamErrorRepeated
        self.emit(kind(connector=self.connector, title=problem.title or None, detail=problem.words or None))

    def _cure(self, error: TokenRejected | RulesMissing, token: str) -> bool:
        with self._rest() as api:
            return api.renew_token(token) if isinstance(error, TokenRejected) else self._apply_rules(api)

    def _apply_rules(self, api: Api) -> bool:
        if not self.stream.has_rules:
            return False
        account = Account(api, self._unavailable)

        def room() -> int | None:
            try:
                counts = account.rule_counts()
            except RetriableError as error:  # without counts, X refuses the addition if there is no room
                self._unavailable("rules/counts", str(error))
                return None
            return counts.room if counts else None

        with self._applying:  # rules may change while a connection is made
            wanted = self.wanted
            change = rules.apply(api, wanted, room=room)
            self.rules = tuple(map(_held, change.held))
            last, before = self._applied
            self._again = change.added_again(wanted, before, last.held)
            self._applied = change, wanted
        for name, values in wanted.items():
            self._tell_change(name, values, change)
        return True

    def _tell_change(self, name: str, values: Collection[str], change: RuleChange) -> None:
        added, deleted = (sum(rule.tag.startswith(f"{name}/") for rule in some) for some in (change.add, change.delete))
        elsewhere = tuple(value for value in change.held_elsewhere if value in values)
        is_news = self._is_new((name, elsewhere) if elsewhere else None)
        if added or deleted or is_news:
            self.emit(RulesChanged(connector=name, added=added, deleted=deleted, held_elsewhere=elsewhere or None))

    def _unavailable(self, feature: str, reason: str) -> None:
        if self._is_new(feature):
            self.emit(FeatureUnavailable(connector=self.connector, feature=feature, reason=reason))

    def _is_new(self, word: object) -> bool:
        # an empty *word*, such as no rules held elsewhere, is no news
        if not word or word in self._said:
            return False
        self._said.add(word)
        return True

    @contextmanager
    def _rest(self, *, after_stop: bool = False) -> Iterator[Api]:
        with self._wire(after_stop=after_stop) as wire, self._api(wire) as api:
            yield api

    def _api(self, wire: Wire) -> Api:
        def fetched() -> None:
            self.emit(TokenFetched(connector=self.connector))

        return Api(self.url, self.credentials, token_fetched=fetched, wire=wire)

    @contextmanager
    def _wire(self, *, after_stop: bool = False) -> Iterator[Wire]:
        wire = Wire()
        with self._lock:
            if self._stopped and not after_stop:
                wire.cut()
            self._wires.add(wire)
        try:
            yield wire
        finally:
            with self._lock:
                self._wires.discard(wire)
            wire.hang_up()


def _held(rule: Rule) -> HeldRule:
    return HeldRule(rule.id, rule.value, rule.tag)
