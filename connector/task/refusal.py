"""
What becomes of a batch if the topic refuses some of its posts?  (Pure.)

With `errors.tolerance=all` the refused posts become dead letters of the same batch (`put_aside`): the offset moves on,
and the ledger does not hold their ids.  With `none` the posts before the first refused one are delivered
(`cut_before`), and the offset covers no more time than before: the next owner finds a gap there.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from connector.coverage.ledger import decode_ids, encode_ids
from connector.coverage.offset import Coverage
from connector.coverage.progress import ledger_write
from connector.errors import BrokerUnsuitable
from connector.records.record import Batch, DeadLetter, LedgerWrite, OffsetWrite, Records, Sifted
from connector.task.in_flight import Pending

REFUSED_IN_A_ROW = 20
"""If the topic refuses so many posts in a row, the fault is the topic's or the broker's, and not the posts'."""


class Judge:
    """Decides whether posts or the topic are at fault; posts of the stream and of repairs are counted apart."""

    def __init__(self) -> None:
        self._row: Counter[bool] = Counter()

    def hear(self, records: Records, sifted: Sifted) -> None:
        """
        Take in which of *records* were refused and which were taken: *sifted*.

        Raises:
            BrokerUnsuitable: the topic has refused too many posts in a row.
        """
        found = [source is not None for source in records.sources or [None] * len(records)]
        refused = Counter(found[place] for place in sifted.refused)
        for kind, count in Counter(found).items():
            if refused[kind] < count:
                del self._row[kind]
                continue
            self._row[kind] += count
            if self._row[kind] >= REFUSED_IN_A_ROW:
                reason = next(why for place, why in sorted(sifted.refused.items()) if found[place] == kind)
                raise BrokerUnsuitable(
                    f"The topic took none of the last {self._row[kind]} posts, so they are not at fault but the topic "
                    f"or the broker. {reason}"
                )

    def hear_taken(self, records: Records) -> None:
        """Take note that all of *records* are in the topic."""
        if self._row and len(records):
            for kind in {source is not None for source in records.sources or (None,)}:
                del self._row[kind]


def put_aside(
    pending: Sequence[Pending], refused: Mapping[int, DeadLetter], key_of: Sequence[bytes]
) -> list[tuple[int, int]]:
    """
    Replace the records of the first *pending* batch at the places of *refused* by these dead letters.

    All offsets in *pending* then count them as dead letters; *key_of* has the key of each source partition's offset.
    Return the number of each source partition with refused posts, and how many they are.
    """
    first = pending[0]
    owners = list(_owners(first))
    counts = Counter(owners[place] for place in refused)
    ids = {int(first.batch.records.keys[place]) for place in refused}
    for each in pending:
        letters = (*each.batch.dead_letters, *refused.values()) if each is first else each.batch.dead_letters
        each.batch = replace(
            each.batch,
            records=_without(each.batch.records, refused) if each is first else each.batch.records,
            dead_letters=letters,
            ledger=tuple(ledger_without(each.batch.ledger, ids)),
            offsets=tuple(_recounted(each.batch.offsets, {key_of[owner]: count for owner, count in counts.items()})),
        )
    first.parts = tuple(count - counts[number] for number, count in enumerate(first.parts))
    first.size_bytes = first.batch.held_bytes(arrivals=len(first.waits))
    return sorted(counts.items())


def cut_before(
    pending: Sequence[Pending],
    dropped: Collection[int],
    owed_ids: Iterable[int],
    offset_of: Callable[[int, int], OffsetWrite],
    *,
    now_ms: int,
) -> Batch:
    """
    Return the batch that is still delivered: the first *pending* one without the records at the *dropped* places.

    The later batches are not delivered.  *owed_ids* are ids of posts that are in the topic and in no record of the
    ledger yet.  *offset_of* makes the offset of a source partition from its number and the number of its dropped posts.
    *now_ms* is by X's clock.
    """
    first = pending[0]
    owners = list(_owners(first))
    missing = Counter(owners[place] for place in dropped)
    missing.update(owner for later in pending[1:] for owner in _owners(later))
    lost = {int(first.batch.records.keys[place]) for place in dropped}
    lost.update(int(key) for later in pending[1:] for key in later.batch.records.keys)
    all_writes = [write for each in pending for write in each.batch.ledger]
    owed = sorted(owed_ids)
    if owed:
        all_writes.append(ledger_write(owed, None, now_ms=now_ms))
    return Batch(
        records=_without(first.batch.records, dropped),
        dead_letters=first.batch.dead_letters,
        offsets=tuple(offset_of(number, missing[number]) for number in range(len(first.parts))),
        ledger=tuple(ledger_without(all_writes, lost)),
    )


def ledger_without(writes: Iterable[LedgerWrite], ids: Collection[int]) -> Iterator[LedgerWrite]:
    """Yield *writes* without *ids*; a write that holds no other ids is left out."""
    for write in writes:
        known = decode_ids(write.value)
        left = [post_id for post_id in known if post_id not in ids]
        if len(left) == len(known):
            yield write
        elif left:
            yield replace(write, value=encode_ids(left))


def _owners(pending: Pending) -> Iterator[int]:
    """Yield for each record the number of its source partition."""
    for number, count in enumerate(pending.parts):
        yield from [number] * count


def _without(records: Records, places: Collection[int]) -> Records:
    return Records.of(record for place, record in enumerate(records) if place not in places)


def _recounted(offsets: Iterable[OffsetWrite], counts: Mapping[bytes, int]) -> Iterator[OffsetWrite]:
    for offset in offsets:
        count = counts.get(offset.key, 0)
        if count and offset.value is not None:
            coverage = Coverage.decode(offset.value).delivered(posts=-count, dead_letters=count)
            yield replace(offset, value=coverage.encode())
        else:
            yield offset
