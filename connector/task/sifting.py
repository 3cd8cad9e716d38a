"""
Finds the posts that the topic refuses, and delivers the others.

    refused ─▶ Sink.sift ─▶ which posts? ──(tolerated)──▶ dead letters of the same batch, which is delivered again
                                  └──────(not tolerated)─▶ the posts before them are delivered, and the task ends

`refusal` has the decisions; this module carries them out on the batches in flight.
"""

from collections.abc import Sequence
from dataclasses import replace

from connector.coverage.progress import Progress
from connector.errors import RecordsRefused, ToleranceExceeded
from connector.records.record import OffsetWrite, Records, Sifted
from connector.task.batcher import Batcher, intolerable
from connector.task.endings import to_the_end
from connector.task.in_flight import InFlight, Pending
from connector.task.ports import Sink
from connector.task.refusal import Judge, cut_before, put_aside


class Sifting:
    """
    What becomes of refused posts of one task.

    *done* counts the batches in which refused posts were found.  With *tolerant* they become dead letters.
    """

    def __init__(self, in_flight: InFlight, batcher: Batcher, sink: Sink, *, tolerant: bool) -> None:
        self.done = 0
        self._in_flight, self._batcher, self._sink, self._tolerant = in_flight, batcher, sink, tolerant
        self._judge = Judge()

    def note_taken(self, records: Records) -> None:
        """Take note that the topic has taken *records*."""
        self._judge.hear_taken(records)

    async def sift(self, refused: RecordsRefused, progresses: Sequence[Progress]) -> ToleranceExceeded | None:
        """
        Find the posts of the first batch in flight that the topic refuses, and change the batch so that it is taken.

        Return the error that ends the task once the batch is delivered; None if refused posts are tolerated.

        Raises:
            BrokerUnsuitable: the topic has refused too many posts in a row.
            DeliveryFailed: it could not be found out which posts the topic refuses.
        """
        first = self._in_flight.pending[0]
        sifted = await self._in_flight.sift(refused)
        self._judge.hear(first.batch.records, sifted)
        fatal = None
        if sifted.refused and self._tolerant:
            self._put_aside(first, sifted, progresses)
        elif sifted.refused:
            fatal = self._cut(first, sifted, progresses)
        else:
            first.batch = replace(first.batch, dead_letters=self._batcher.fitting(first.batch.dead_letters))
        self.done += bool(sifted.refused)
        if sifted.taken:
            first.encoded = await self._sink.encode(replace(first.batch, records=Records()))
        else:
            await to_the_end(self._in_flight.discard())
            await self._in_flight.open()
        return fatal

    def _put_aside(self, first: Pending, sifted: Sifted, progresses: Sequence[Progress]) -> None:
        records = first.batch.records
        letters = self._batcher.letters_of(first, sifted.refused)
        keys = [self._sink.offset_key(progress.partition) for progress in progresses]
        for number, posts in put_aside(self._in_flight.pending, letters, keys):
            progresses[number].refused(posts)
        self._batcher.disown({int(records.keys[place]) for place in sifted.refused})

    def _cut(self, first: Pending, sifted: Sifted, progresses: Sequence[Progress]) -> ToleranceExceeded:
        place, reason = min(sifted.refused.items())
        dropped = sifted.refused if sifted.taken else range(place, len(first.batch.records))

        def unclaimed(number: int, posts: int) -> OffsetWrite:
            """Return the offset of a source partition of which so many *posts* are dropped; it claims no more time."""
            progress = progresses[number]
            coverage = progress.without_claims(self._in_flight.coverage_of(progress.partition), posts)
            return OffsetWrite(key=self._sink.offset_key(progress.partition), value=coverage.encode())

        owed_ids, now_ms = self._batcher.owed_ids, max(progress.now_ms for progress in progresses)
        first.batch = cut_before(self._in_flight.pending, dropped, owed_ids, unclaimed, now_ms=now_ms)
        del self._in_flight.pending[1:]
        return intolerable(reason)
