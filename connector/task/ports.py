"""
What a task needs from outside: Protocols, each with the class that implements it in the connector.

`Source`            the X end of one source partition     `connector.sources.source.StreamSource`
`Finder`            what X offers to find posts again     `connector.sources.archive.finder.PostFinder`
`Sink`              the Kafka end of one task             `connector.kafka.delivery.sink.TopicSink`
`CommittedOffsets`  what the offsets topic holds of it    `connector.kafka.state.offsets`
`Posts`             what it takes to withdraw posts       `connector.kafka.state.authors.AuthorsTopic`
`Schemas`           the ids of the schemas of its values  `connector.formats.schemas.ids.SchemaIds`
`Requests`          what operators ask of its gaps        `connector.cluster.requests.GapRequests`
"""

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from connector.errors import RecordsRefused
from connector.formats.schemas.writer import Stamp
from connector.records.record import (
    Arrival,
    Batch,
    Connected,
    Destination,
    HeldRule,
    Limits,
    Sifted,
    SourcePartition,
    TopicRecord,
)
from connector.sources.handles import Handle, Released

# -- X


class Source(Protocol):
    """The X end of one source partition; each `read` is one connection."""

    @property
    def partition(self) -> SourcePartition:
        """The source partition: `{"stream": "filtered"}`, or with `"partition": "3"`."""

    @property
    def rules(self) -> Sequence[HeldRule]:
        """The rules in force, as `prepare` left them; none for a stream without rules."""

    def want(self, wanted: Mapping[str, Mapping[str, str]]) -> None:
        """Set which rules (by connector: value, label) X shall hold after the next `prepare`.  Event loop."""

    def rules_of(self, connector: str) -> Sequence[HeldRule]:
        """Return the rules in force whose posts are for *connector*, as `prepare` left them."""

    def prepare(self) -> Collection[str]:
        """
        Set the rules at X and get the token, as configured.  Executor thread, also while a connection is open.

        Return the connectors for which X did not hold a rule meanwhile that it was to hold before.

        Raises:
            RulesRefused: X refuses rules of some of several connectors.
            ConnectorError: X refuses, or cannot be reached.
        """

    def read(
        self,
        put: Callable[[Arrival], None],
        connected: Callable[[Connected], None],
        *,
        backfill_minutes: int | None = None,
    ) -> None:
        """
        Make one connection and put what arrives, until it ends; return only when stopped.  Reader thread.

        With *backfill_minutes* X first repeats so many minutes of the past.  An exception of *put* ends the connection,
        and is raised.

        Raises:
            ConnectorError: how the connection ended, or why there was none.
        """

    def stop(self) -> None:
        """End `read` at once, whatever it is doing.  Any thread."""

    def ask(self, parameters: Mapping[str, str]) -> None:
        """Ask for other fields and expansions from the next connect on.  Event loop."""

    def hang_up(self) -> None:
        """End the `read` that is running, which then returns; another one may follow.  Any thread."""

    def find_connection(self) -> str | None:
        """Return X's id of the connection now open, None where X does not say.  Executor thread."""

    def release(self, connections: Collection[Handle]) -> Released:
        """
        End those of *connections* that X still holds, and return what became of them.  Executor thread.

        Where X does not list connections, nothing is known of any of them.

        Raises:
            ConnectorError: X cannot be reached.
        """


class Found(Protocol):
    """A piece of the posts that a search has found."""

    @property
    def lines(self) -> tuple[bytes, ...]:
        """Lines in the form in which the stream would have sent them."""

    @property
    def down_to_id(self) -> int:
        """All posts with this id or larger ones that the search finds are in this piece or earlier ones."""

    @property
    def fetched(self) -> tuple[int, ...]:
        """The ids that X has sent since the piece before, some perhaps twice."""


class Search(Protocol):
    """Finds the posts of a gap by search, newest first.  Executor thread."""

    @property
    def lost(self) -> Mapping[str, str]:
        """Rules that search cannot express, and why."""

    def next(self) -> Found | None:
        """
        Return the next piece, None after the last; after an error the next call goes on at the same place.

        Raises:
            ConnectorError: X refuses, limits, or cannot be reached.
        """


class Replay(Protocol):
    """A connection on which X repeats the posts of an interval, and then closes it."""

    def read(self, put: Callable[[Arrival], None], connected: Callable[[Connected], None]) -> None:
        """
        Read all posts of the interval.  Executor thread.

        Raises:
            ConnectorError: the replay broke off before its end.
        """

    def stop(self) -> None:
        """End `read` at once.  Any thread."""


class Finder(Protocol):
    """What X offers to find posts again.  X gets no request before the result is read."""

    def search(self, rules: Sequence[HeldRule], low_id: int, high_id: int) -> Search:
        """Return the search for posts that match *rules*, with ids from *low_id* up to, not including, *high_id*."""

    def replay(self, from_ms: int, to_ms: int) -> Replay:
        """Return the replay of posts made from *from_ms* to *to_ms* (UNIX ms), widened to whole seconds."""

    def stop(self) -> None:
        """End the requests that are running, and refuse further ones.  Any thread."""


# -- Kafka


class CommittedOffsets(Protocol):
    """What the offsets topic holds of one task."""

    @property
    def latest(self) -> Mapping[bytes, bytes]:
        """The last committed value of each key."""

    @property
    def seen(self) -> Collection[tuple[bytes, bytes | None]]:
        """All keys and values that were written, the last ones among them."""


class Schemas(Protocol):
    """The ids of the schemas of one connector's values.  Event loop."""

    @property
    def waiting(self) -> str | None:
        """Why an id is not known yet, as a sentence; None while the registry is not known to be away."""

    def stamps_for(self, topics: Collection[str], told: Callable[[], None]) -> Mapping[str, Stamp] | None:
        """
        Return what makes values of the bodies for each of *topics*; None while an id is not known.

        *told* is then called once when it is worth while to ask again.

        Raises:
            SchemaRefused: the registry refuses one of them.
        """


class Sink(Protocol):
    """The Kafka end of one task."""

    @property
    def destinations(self) -> Sequence[Destination]:
        """Where it delivers to since the last `open`, or from the next one on."""

    def serve(self, destinations: Sequence[Destination]) -> None:
        """Deliver to *destinations*, from the next `open` on."""

    def limits_of(self, destination: Destination) -> Limits:
        """Return the largest sizes that the topics of *destination* take; known once the sink is open."""

    async def open(self) -> CommittedOffsets:
        """
        Fence the task's previous owner, then read what is committed.

        Raises:
            DeliveryFailed: Kafka does not answer, or refuses.
        """

    def offset_key(self, connector: str, partition: SourcePartition, kind: str | None = None) -> bytes:
        """Return the key of *connector*'s source offset for *partition*, or of the record of *kind* beside it."""

    async def read_ledger(
        self, connector: str, from_ms: int, to_ms: int | None, *, late: bool = False
    ) -> Sequence[int]:
        """
        Return the ids of posts delivered for *connector* that were made from *from_ms* to *to_ms* (UNIX ms).

        With None as *to_ms*, up to the newest.  Some older or younger ids may be among them, and an id may be there
        twice.  Posts that a repair delivered long after they were made are found only with *late*, which reads more
        records.  Call it when the sink is open.

        Raises:
            DeliveryFailed: Kafka does not answer, or refuses.
            FatalError: a record of the ledger cannot be read.
        """

    async def encode(self, batch: Batch) -> Any:
        """
        Build the bytes to send for *batch*; nothing is sent yet.

        Raises:
            BrokerAway: Kafka does not answer what is needed to build them.
        """

    async def deliver(self, batch: Batch, encoded: Any) -> None:
        """
        Write *batch* with its offsets and return once it is committed.

        Raises:
            DeliveryFailed: the outcome is unknown.
            RecordsRefused: an output topic refuses some of the records; nothing of *batch* is committed.
            FatalError: an internal topic refuses a record.
        """

    async def sift(self, batch: Batch, refused: RecordsRefused) -> Sifted:
        """
        Return which records of *batch* their topics refuse; *refused* is the error of the delivery.

        Call it when the sink has just opened.

        Raises:
            DeliveryFailed: it could not be found out.
        """

    async def close(self) -> None:
        """Let go of the producer, in bounded time."""


class Posts(Protocol):
    """The topic whose posts a connector withdraws, and what it has learnt of it."""

    def kept(self) -> AsyncGenerator[bytes]:
        """
        Yield what the connector's owners have learnt, the oldest first; call it when the sink is open.

        Raises:
            DeliveryFailed: Kafka does not answer, or refuses.
        """

    def follow(self, read_to: Mapping[int, int], from_ms: int) -> AsyncGenerator[Sequence[TopicRecord]]:
        """
        Yield the committed records of the topic from the offsets *read_to* on; empty if none come for a second.

        A partition that is not in *read_to* is read from the first record whose timestamp is at least *from_ms* (UNIX
        ms).  It may end, and is then to be called again.

        Raises:
            DeliveryFailed: Kafka does not answer, or refuses.
        """


# -- operators


class Request(Protocol):
    """What an operator asks of the gap that begins at *from_ms*: `retry` or `accept`."""

    @property
    def from_ms(self) -> int: ...

    @property
    def action(self) -> str: ...


R = TypeVar("R", bound=Request)


class Requests(Protocol[R]):
    """The requests of operators, which any worker of the group may have received."""

    def pending(self, connector: str, partition: str | None) -> Sequence[R]:
        """Return the requests about the gaps of this source partition, oldest first."""

    async def done(self, request: R) -> None:
        """
        Take *request* out of its topic.

        Raises:
            DeliveryFailed: Kafka has not confirmed; it may be tried again.
        """
