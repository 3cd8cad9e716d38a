"""
What becomes of a batch if a topic refuses some posts of a connector?  (Pure.)

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
from connector.records.record import DeadLetter, LedgerWrite, OffsetWrite, Records, Share
from connector.task.in_flight import Pending, Receipt

REFUSED_IN_A_ROW = 20
"""If the topic refuses so many posts in a row, the fault is the topic's or the broker's, and not the posts'."""


class Judge:
    """Decides whether posts or the topic are at fault; posts of the stream and of repairs are counted apart."""

    def __init__(self) -> None:
        self._row: Counter[bool] = Counter()

    def hear(self, records: Records, reasons: Mapping[int, str]) -> None:
        """
        Take in which of *records* were refused, and for which *reasons*, by their places; the others were taken.

        Raises:
            BrokerUnsuitable: the topic has refused too many posts in a row.
        """
        found = [source is not None for source in records.sources or [None] * len(records)]
        refused = Counter(found[place] for place in reasons)
        for kind, count in Counter(found).items():
            if refused[kind] < count:
                del self._row[kind]
                continue
            self._row[kind] += count
            if self._row[kind] >= REFUSED_IN_A_ROW:
                reason = next(why for place, why in sorted(reasons.items()) if found[place] == kind)
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
    pending: Sequence[Pending], connector: str, refused: Mapping[int, DeadLetter], key_of: Sequence[bytes]
) -> list[tuple[int, int]]:
    """
    Replace the records at the places of *refused* in the first *pending* share of *connector* by these dead letters.

    All offsets of the connector in *pending* then count them as dead letters; *key_of* has the key of each source
    partition's offset.  Return the number of each source partition with refused posts, and how many they are.
    """
    first = pending[0]
    number = _number_of(first, connector)
    records = first.batch.shares[number].records
    owners = list(_owners(first.receipts[number]))
    counts = Counter(owners[place] for place in refused)
    by_key = {key_of[owner]: count for owner, count in counts.items()}
    ids = set(map(records.post_id, refused))
    for each in pending:
        its = [at for at, share in enumerate(each.batch.shares) if share.to.connector == connector]
        for at in its:
            share = each.batch.shares[at]
            ledger, offsets = ledger_without(share.ledger, ids), _recounted(share.offsets, by_key)
            recounted = replace(share, ledger=tuple(ledger), offsets=tuple(offsets))
            each.batch = each.batch.with_share(at, recounted)
    share = first.batch.shares[number]
    letters = (*share.dead_letters, *refused.values())
    first.batch = first.batch.with_share(
        number, replace(share, records=_without(records, refused), dead_letters=letters)
    )
    receipt = first.receipts[number]
    receipt.parts = tuple(count - counts[at] for at, count in enumerate(receipt.parts))
    first.measure()
    return sorted(counts.items())


def cut_before(
    pending: Sequence[Pending],
    connector: str,
    dropped: Collection[int],
    owed_ids: Iterable[int],
    offset_of: Callable[[int, int], OffsetWrite],
    *,
    now_ms: int,
) -> Share:
    """
    Return the last share of *connector*: that of the first *pending* batch without the records at *dropped* places.

    Its shares of the later batches are not delivered.  *owed_ids* are ids of posts that are in the topic and in no
    record of the ledger yet.  *offset_of* makes the offset of a source partition from its number and the number of its
    dropped posts.  *now_ms* is by X's clock.
    """
    mine = [
        (share, receipt)
        for each in pending
        for share, receipt in zip(each.batch.shares, each.receipts, strict=True)
        if share.to.connector == connector
    ]
    (share, receipt), later = mine[0], mine[1:]
    owners = list(_owners(receipt))
    missing = Counter(owners[place] for place in dropped)
    missing.update(owner for _, its_receipt in later for owner in _owners(its_receipt))
    lost = set(map(share.records.post_id, dropped))
    for other, _ in later:
        lost.update(map(other.records.post_id, range(len(other.records))))
    all_writes = [write for each, _ in mine for write in each.ledger]
    owed = sorted(owed_ids)
    if owed:
        all_writes.append(ledger_write(owed, None, now_ms=now_ms))
    return replace(
        share,
        records=_without(share.records, dropped),
        offsets=tuple(offset_of(number, missing[number]) for number in range(len(receipt.parts))),
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


def _number_of(pending: Pending, connector: str) -> int:
    return next(at for at, share in enumerate(pending.batch.shares) if share.to.connector == connector)


def _owners(receipt: Receipt) -> Iterator[int]:
    """Yield for each record the number of its source partition."""
    for number, count in enumerate(receipt.parts):
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
