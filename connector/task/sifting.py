"""
Finds the posts that the topics refuse, and delivers the others.

    refused ─▶ Sink.sift ─▶ which posts? ──(tolerated)──▶ dead letters of the same batch, which is delivered again
                                  └──────(not tolerated)─▶ the posts before them are delivered, and the connector fails

`refusal` has the decisions; this module carries them out on the batches in flight, for each connector by itself.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from connector.errors import BrokerUnsuitable, ConnectorError, RecordsRefused
from connector.records.record import Batch, OffsetWrite, Records, Share
from connector.task.batcher import Batcher, intolerable
from connector.task.endings import to_the_end
from connector.task.in_flight import InFlight, Pending
from connector.task.ports import Sink
from connector.task.refusal import cut_before, put_aside
from connector.task.subscriber import Subscriber


class Sifting:
    """
    What becomes of refused posts of one task.

    *done* counts the batches in which refused posts were found.
    """

    def __init__(self, in_flight: InFlight, batcher: Batcher, sink: Sink) -> None:
        self.done = 0
        self._in_flight, self._batcher, self._sink = in_flight, batcher, sink

    async def sift(
        self, refused: RecordsRefused, subscribers: Mapping[str, Subscriber]
    ) -> dict[Subscriber, ConnectorError]:
        """
        Find the posts of the first batch in flight that the topics refuse, and change the batch so that it is taken.

        *subscribers* are the connectors by name.  Return those that fail, each with its error, once the batch is
        delivered: refused posts are not tolerated, or the topic has refused too many posts in a row.

        Raises:
            DeliveryFailed: it could not be found out which posts the topics refuse.
        """
        pending = self._in_flight.pending
        first = pending[0]
        sifted = await self._in_flight.sift(refused)
        failed: dict[Subscriber, ConnectorError] = {}
        for share, reasons in [(share, sifted.refused_of(at)) for at, share in enumerate(first.batch.shares)]:
            subscriber = subscribers[share.to.connector]
            try:
                subscriber.judge.hear(share.records, reasons)
            except BrokerUnsuitable as error:
                failed[subscriber] = error
                for each in pending:
                    each.leave_out(subscriber.name)
                continue
            if reasons and subscriber.converter.dead_letters:
                self._put_aside(share, reasons, subscriber)
            elif reasons:
                dropped = reasons if sifted.taken else range(min(reasons), len(share.records))
                self._cut(dropped, subscriber)
                failed[subscriber] = intolerable(min(reasons.items())[1])
        if not sifted.refused:
            self._fit_letters(first, subscribers)
        self.done += bool(sifted.refused)
        pending[1:] = [each for each in pending[1:] if each.batch.shares]
        if sifted.taken:
            taken = Batch(tuple(replace(share, records=Records()) for share in first.batch.shares))
            first.encoded = await self._sink.encode(taken)
            for each in pending[1:]:
                each.encoded = await self._sink.encode(each.batch)
        else:
            await to_the_end(self._in_flight.discard())
            await self._in_flight.open()
            failed |= {subscribers[name]: error for name, error in self._in_flight.take_unfit().items()}
        return failed

    def _fit_letters(self, first: Pending, subscribers: Mapping[str, Subscriber]) -> None:
        """Cut the dead letters to the sizes that their topics take at present."""
        for at, share in enumerate(first.batch.shares):
            letters = self._batcher.fitting(subscribers[share.to.connector], share.dead_letters)
            first.batch = first.batch.with_share(at, replace(share, dead_letters=letters))

    def _put_aside(self, share: Share, reasons: Mapping[int, str], subscriber: Subscriber) -> None:
        pending = self._in_flight.pending
        at = [each.to.connector for each in pending[0].batch.shares].index(subscriber.name)
        letters = self._batcher.letters_of(subscriber, share, pending[0].receipts[at], reasons)
        keys = [self._sink.offset_key(subscriber.name, progress.partition) for progress in subscriber.progresses]
        for number, posts in put_aside(pending, subscriber.name, letters, keys):
            subscriber.progresses[number].refused(posts)
        ids = set(map(share.records.post_id, reasons))
        subscriber.owed_ids = [post_id for post_id in subscriber.owed_ids if post_id not in ids]

    def _cut(self, dropped: Collection[int], subscriber: Subscriber) -> None:
        pending, progresses, name = self._in_flight.pending, subscriber.progresses, subscriber.name

        def unclaimed(number: int, posts: int) -> OffsetWrite:
            """Return the offset of a source partition of which so many *posts* are dropped; it claims no more time."""
            progress = progresses[number]
            committed = self._in_flight.coverage_of(name, progress.partition)
            key = self._sink.offset_key(name, progress.partition)
            return OffsetWrite(key=key, value=progress.without_claims(committed, posts).encode())

        now_ms = max(progress.now_ms for progress in progresses)
        cut = cut_before(pending, name, dropped, subscriber.owed_ids, unclaimed, now_ms=now_ms)
        at = [share.to.connector for share in pending[0].batch.shares].index(name)
        pending[0].batch = pending[0].batch.with_share(at, cut)
        for later in pending[1:]:
            later.leave_out(name)
