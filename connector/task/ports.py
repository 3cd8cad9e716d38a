"""
What a task needs from outside: Protocols, each with the class that implements it in the connector.

`Source`            the X end of one source partition     `connector.sources.source.StreamSource`
`Finder`            what X offers to find posts again     `connector.sources.archive.finder.PostFinder`
`Sink`              the Kafka end of one task             `connector.kafka.delivery.sink.TopicSink`
`CommittedOffsets`  what the offsets topic holds of it    `connector.kafka.state.offsets`
`Requests`          what operators ask of its gaps        `connector.cluster.requests.GapRequests`
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from connector.errors import RecordsRefused
from connector.records.record import Arrival, Batch, Connected, HeldRule, Sifted, SourcePartition
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

    def prepare(self) -> None:
        """
        Set the rules at X and get the token, as configured.  Executor thread.

        Raises:
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


class Sink(Protocol):
    """The Kafka end of one task."""

    max_record_bytes: int
    """The largest key and value together that the output topic takes; known once the sink is open."""
    max_dead_letter_bytes: int
    """The largest value that the dead letter topic takes; known once the sink is open."""

    async def open(self) -> CommittedOffsets:
        """
        Fence the task's previous owner, then read what is committed.

        Raises:
            DeliveryFailed: Kafka does not answer, or refuses.
        """

    def offset_key(self, partition: SourcePartition, kind: str | None = None) -> bytes:
        """Return the key of *partition*'s source offset, or of the record of another *kind* beside it."""

    async def read_ledger(self, from_ms: int, to_ms: int | None, *, late: bool = False) -> Sequence[int]:
        """
        Return the ids of delivered posts that were made from *from_ms* to *to_ms* (UNIX ms; None: to the newest).

        Some older or younger ids may be among them, and an id may be there twice.  Posts that a repair delivered long
        after they were made are found only with *late*, which reads more records.  Call it when the sink is open.

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
            RecordsRefused: the output topic refuses some of the records; nothing of *batch* is committed.
            FatalError: an internal topic refuses a record.
        """

    async def sift(self, batch: Batch, refused: RecordsRefused) -> Sifted:
        """
        Return which records of *batch* the topic refuses; *refused* is the error with which Kafka refused some of them.

        Call it when the sink has just opened.

        Raises:
            DeliveryFailed: it could not be found out.
        """

    async def close(self) -> None:
        """Let go of the producer, in bounded time."""


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
