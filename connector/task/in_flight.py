"""
The batches of a task that are built and that Kafka has not confirmed.

    open ─▶ resolve unknown outcomes ─▶ ( hand over ─▶ deliver ─▶ confirmed )* ─▶ discard ─▶ open …

A batch is held until Kafka has confirmed it.  One is being committed while the next is built.  When the outcome of a
commit is unknown, the producer is discarded.  After the next `open` the offsets topic says which batches are in the
topic, and only the other batches are delivered again.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from connector.coverage.ledger import decode_ids
from connector.coverage.offset import Coverage
from connector.errors import BrokerUnsuitable, DeliveryFailed, RecordsRefused, Superseded
from connector.records.record import Batch, Sifted, SourcePartition
from connector.task.encoding import encode_fit
from connector.task.ports import CommittedOffsets, Sink
from connector.task.wake import Wake

DELAYED_SECS = 5.0
"""If a delivery takes longer, the listener is told, and told again after each such time."""

CANCEL_SECS = 1.0
"""A cancelled delivery that has not ended after this time is cancelled again."""

NOT_BUILT = object()
"""In place of what `Sink.encode` returns, for a batch that could not be encoded yet."""

COPIED_BYTES = 4 * 1024 * 1024
"""Most bytes of the batch in flight that exist twice: in a request and in its message, of about 2 MB each."""


@dataclass(slots=True, kw_only=True)
class Receipt:
    """What to report of one share of a batch once Kafka has it."""

    waits: tuple[tuple[float, float, int], ...] = ()
    """For each arrival: when it came (local UNIX seconds), when a post of it was made (X's clock), how many posts."""
    parts: tuple[int, ...] = ()
    """How many records each source partition has in the share, in the order in which they follow each other there."""
    mills: int = 0
    """What X charges for the posts read since the batch before, in thousandths of a dollar."""


@dataclass(slots=True, kw_only=True)
class Pending:
    """A batch that Kafka has not confirmed, and the values to report once it has."""

    batch: Batch
    receipts: tuple[Receipt, ...]
    """One for each share of the batch."""
    encoded: Any
    """What `Sink.encode` returned; `NOT_BUILT` while it could not encode the batch."""
    live: tuple[int, ...] = ()
    """Numbers of the source partitions whose streams brought posts of the batch."""
    since: float
    """When the batch was built (monotonic seconds)."""
    size_bytes: int = 0
    """The memory that the batch takes."""

    def measure(self) -> None:
        """Set `size_bytes` to what the batch takes now."""
        shares = zip(self.batch.shares, self.receipts, strict=True)
        self.size_bytes = sum(share.held_bytes(arrivals=len(receipt.waits)) for share, receipt in shares)

    def leave_out(self, connector: str) -> bool:
        """Take the share of *connector* out; return whether there was one."""
        kept = [
            (share, receipt)
            for share, receipt in zip(self.batch.shares, self.receipts, strict=True)
            if share.to.connector != connector
        ]
        found = len(kept) < len(self.batch.shares)
        self.batch = Batch(tuple(share for share, _ in kept))
        self.receipts = tuple(receipt for _, receipt in kept)
        self.measure()
        return found


class Listener(Protocol):
    """Is told what becomes of the batches."""

    def on_confirmed(self, pending: Pending) -> None:
        """Kafka has *pending*."""

    def on_delivered(self, pending: Pending) -> None:
        """Kafka has *pending*, by a commit whose outcome was known at once."""

    def on_delayed(self, waiting_secs: float) -> None:
        """Kafka has not confirmed a batch for *waiting_secs*; called again every few seconds."""

    def on_resumed(self, waited_secs: float) -> None:
        """Kafka confirms batches again, after *waited_secs*."""


class InFlight:
    """
    The batches of one task on their way into *sink*; *wake* is set whenever a commit has ended.

    *ours* says whether this run of the task may have written a key and value.  Without transactions a copy of an older
    offset of ours may reach Kafka late, and is then no sign of another owner.

    *committed* are the offsets known to be in Kafka.  *committed_at* is when a commit last proved that this worker owns
    the task (monotonic seconds), and *commits* counts these proofs.
    """

    def __init__(
        self,
        sink: Sink,
        listener: Listener,
        wake: Wake,
        *,
        ours: Callable[[bytes, bytes | None], bool] = lambda _key, _value: False,
    ) -> None:
        self.sink = sink
        self._ours = ours
        self.pending: list[Pending] = []
        self.committed: dict[bytes, bytes | None] = {}
        self.committed_at = time.monotonic()
        self.commits = 0
        self.emptied = False
        """Whether, at the last `open`, the offsets topic had lost values that were known to be in it."""
        self._unfit: dict[str, BrokerUnsuitable] = {}
        self.delayed_since: float | None = None
        self._listener, self._wake = listener, wake
        self._commit: asyncio.Task[None] | None = None
        self._said_at = 0.0

    @property
    def delayed_secs(self) -> float | None:
        """How long Kafka has not confirmed a batch; None while it confirms."""
        return None if self.delayed_since is None else time.monotonic() - self.delayed_since

    @property
    def posts(self) -> int:
        """Posts that Kafka has not confirmed."""
        return sum(pending.batch.posts for pending in self.pending)

    @property
    def size_bytes(self) -> int:
        """Bytes of memory that the batches take, with the copies of the one in flight."""
        sizes = [pending.size_bytes for pending in self.pending]
        return sum(sizes) + min(sum(sizes[:1]), COPIED_BYTES)

    async def open(self) -> CommittedOffsets:
        """
        Open the sink, drop the batches that are in the topic after all, and encode the others again.

        Raises:
            DeliveryFailed: Kafka does not answer, or refuses.
            Superseded: another owner has delivered since.
        """
        committed = await self.sink.open()
        self.committed_at = time.monotonic()  # initialising the transactional id proves it, too
        self.emptied = not committed.seen and any(value is not None for value in self.committed.values())
        if self.emptied:  # the topic was deleted: another owner would have left an offset of its own
            self.committed = dict.fromkeys(self.committed)
            await self._resolve_by_ledger()
        else:
            self._resolve(committed)
        await self._encode_again()
        return committed

    async def _encode_again(self) -> None:
        """Encode for this producer what was encoded for the last one."""
        for number, pending in enumerate(self.pending):
            pending.encoded, unfit = await encode_fit(self.sink, pending.batch)
            self._unfit |= unfit
            # at once in all that follows: nobody may deliver a later batch of a connector without this one
            for each in self.pending[number:]:
                for connector in unfit:
                    each.leave_out(connector)
        if self._unfit:
            self.pending = [pending for pending in self.pending if pending.batch.shares]

    def take_unfit(self) -> dict[str, BrokerUnsuitable]:
        """
        Return the connectors whose topics could not be used at an `open` since this was last asked, and why.

        Nothing of them is held any more, so they have to fail.
        """
        unfit, self._unfit = self._unfit, {}
        return unfit

    async def _resolve_by_ledger(self) -> None:
        """
        Drop the first batches whose ids are in the ledger.

        A transaction writes the ledger together with the posts.  Without transactions a post may be doubled here, and
        its key is the same.
        """
        while self.pending and (share := next((one for one in self.pending[0].batch.shares if one.ledger), None)):
            ids = [post_id for write in share.ledger for post_id in decode_ids(write.value)]
            times = [write.timestamp_ms for write in share.ledger]
            known = set(await self.sink.read_ledger(share.to.connector, min(times), None))
            if not known.issuperset(ids):
                return
            self._confirm(self.pending.pop(0))

    def coverage_of(self, connector: str, partition: SourcePartition) -> Coverage:
        """Return what the committed offset of *connector* for *partition* says; an empty coverage if there is none."""
        value = self.committed.get(self.sink.offset_key(connector, partition))
        return Coverage() if value is None else Coverage.decode(value)

    def forget(self, keys: Iterable[bytes]) -> None:
        """Forget the values of *keys*: this task writes them no more."""
        for key in keys:
            self.committed.pop(key, None)

    def note_committed(self, offsets: Mapping[bytes, bytes | None]) -> None:
        """Take note that *offsets*, value by key, are in Kafka."""
        self.committed |= offsets

    def _resolve(self, committed: CommittedOffsets) -> None:
        there = 0
        for number, pending in enumerate(self.pending, 1):
            offsets = pending.batch.offsets
            if not all((offset.key, offset.value) in committed.seen for offset in offsets):
                break
            if offsets:  # of a batch without offsets only a later one tells whether it is in
                there = number
        for _ in range(there):
            self._confirm(self.pending.pop(0))
        for key, value in self.committed.items():
            latest = committed.latest.get(key)
            if latest != value and not self._ours(key, latest):
                raise Superseded("Another owner has delivered since")

    async def sift(self, refused: RecordsRefused) -> Sifted:
        """
        Find out which records of the first batch the topic refuses; call it after `open`.

        Raises:
            DeliveryFailed: it could not be found out.
        """
        return await self.sink.sift(self.pending[0].batch, refused)

    async def deliver_again(self) -> None:
        """
        Deliver again the batches that the last producer left unconfirmed.

        Raises:
            DeliveryFailed: the outcome is unknown again.
        """
        for pending in tuple(self.pending):
            self._commit = self._start(pending)
            await self.confirmed()

    async def hand_over(self, pending: Pending) -> None:
        """
        Take *pending*, wait until the batch before is confirmed, and begin to deliver *pending*.

        Raises:
            DeliveryFailed: the outcome of the batch before is unknown; both stay here.
        """
        self.pending.append(pending)
        await self.confirmed()
        self._commit = self._start(pending)

    async def confirmed(self, *, unless: Callable[[], bool] = lambda: False) -> None:
        """
        Wait until the commit in flight has ended, or until *unless* returns True.

        Raises:
            DeliveryFailed: the commit's outcome is unknown; its batch stays here.
        """
        commit = self._commit
        if commit is None:
            return
        while not commit.done():
            if unless():
                return
            self._wake.clear()
            await self._wake.wait(max(self._said_at + DELAYED_SECS - time.monotonic(), 0.1))
            self._say_delayed()
        self._commit = None
        commit.result()
        self.pending.pop(0)

    async def discard(self) -> None:
        """Close the producer; the batches stay."""
        commit, self._commit = self._commit, None
        if commit is not None:
            while not commit.done():  # `wait_for` of Python 3.11 may swallow one cancellation
                commit.cancel()
                await asyncio.wait({commit}, timeout=CANCEL_SECS)
        await self.sink.close()

    def _start(self, pending: Pending) -> "asyncio.Task[None]":
        commit = asyncio.create_task(self._deliver(pending))
        commit.add_done_callback(lambda _: self._wake.set())
        return commit

    async def _deliver(self, pending: Pending) -> None:
        if pending.encoded is NOT_BUILT:
            try:
                pending.encoded = await self.sink.encode(pending.batch)
            except BrokerUnsuitable as error:
                raise DeliveryFailed(str(error)) from error  # the next `open` finds out whose topic it is
        await self.sink.deliver(pending.batch, pending.encoded)
        self._confirm(pending)
        self._listener.on_delivered(pending)

    def _confirm(self, pending: Pending) -> None:
        self.note_committed({offset.key: offset.value for offset in pending.batch.offsets})
        self.committed_at = time.monotonic()
        self.commits += 1
        if self.delayed_since is not None:
            waited = self.committed_at - self.delayed_since
            self.delayed_since = None
            self._listener.on_resumed(waited)
        self._listener.on_confirmed(pending)

    def _say_delayed(self) -> None:
        if self._commit is not None and not self._commit.done():
            self.say_delayed()

    def say_delayed(self) -> None:
        """Tell the listener that Kafka does not confirm, if that lasts `DELAYED_SECS` and was not told within them."""
        if not self.pending:
            return
        now, since = time.monotonic(), max(self.pending[0].since, self.committed_at)  # an idle stream is not a delay
        if now - max(self._said_at, since) < DELAYED_SECS:
            return
        self._said_at = now
        self.delayed_since = self.delayed_since or since
        self._listener.on_delayed(now - self.delayed_since)
