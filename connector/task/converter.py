"""
Turns X's lines into records or dead letters, and drops duplicates.

Each post takes this path: its id is read out of the head of the line, the ledger says whether the id is new, and the
line becomes a record.  A line that is not a post becomes a dead letter, or ends the task.  Whatever is dropped is
counted.
"""

from collections.abc import Sequence
from itertools import chain

from connector.coverage.ledger import Ledger
from connector.errors import BadRecord
from connector.records.post import MAX_DIGITS, head_of, heads_of
from connector.records.record import Arrival, Converted, DeadLetter, SourceRecord
from connector.records.snowflake import EPOCH_MS, SEQUENCE_BITS, created_ms, to_iso

_MAX_HEADER_CHARACTERS = 1000
_WHOLE = "value.bytes"


class Converter:
    """Converts the arrivals of one task; its ledger holds the ids of the posts that it has converted."""

    def __init__(self, *, connector: str, dead_letters: bool) -> None:
        self._connector, self.dead_letters = connector, dead_letters
        self.ledger = Ledger()
        self._max_record_bytes = self._max_dead_letter_bytes = 0

    def limit(self, record_bytes: int, dead_letter_bytes: int = 0) -> None:
        """
        Set the largest sizes that the topics take.

        *record_bytes* is the largest key and value together in the output topic: a larger post is a bad record.
        *dead_letter_bytes* is the largest value in the dead letter topic: a larger line is cut, and a header says so.
        """
        self._max_record_bytes, self._max_dead_letter_bytes = record_bytes, dead_letter_bytes

    def convert(self, arrivals: Sequence[Arrival], *, source: bytes | None = None, until_id: int = 0) -> Converted:
        """
        Return what the lines of *arrivals* become, up to the first bad record that is not tolerated.

        Records of posts with ids below *until_id*, or all records if that is 0, get *source* as their header.
        """
        result = Converted()
        if not until_id and self._convert_at_once(arrivals, result, source):
            return result
        newest_id = 0
        for arrival in arrivals:
            alone = len(arrivals) > 1 and not until_id and self._convert_at_once((arrival,), result, source)
            if not alone:
                self._convert_one_by_one(arrival, result, source, until_id)
            newest_id = max(newest_id, result.newest_id)
            if result.error is not None:
                break
        result.newest_id = newest_id
        return result

    def _convert_at_once(self, arrivals: Sequence[Arrival], result: Converted, source: bytes | None) -> bool:
        """Convert *arrivals* if all lines are good, new posts, as nearly all are; else return False."""
        lines = tuple(chain.from_iterable(arrival.lines for arrival in arrivals))
        if not lines or max(map(len, lines)) + MAX_DIGITS > self._max_record_bytes:
            return False
        heads = heads_of(lines)
        if heads is None or not self.ledger.add_new(heads[0]):
            return False
        ids, keys = heads
        times = [(post_id >> SEQUENCE_BITS) + EPOCH_MS for post_id in ids]
        result.records.extend(keys, lines, times, source)
        result.ids += ids
        result.newest_id = max(ids)
        if source is None:
            end = 0
            for arrival in arrivals:
                posts = len(arrival.lines)
                end += posts
                if posts:
                    result.waits.append((arrival.at, times[end - 1] / 1000, posts))
        return True

    def _convert_one_by_one(self, arrival: Arrival, result: Converted, source: bytes | None, until_id: int) -> None:
        ledger, records, ids = self.ledger, result.records, result.ids
        before = len(records)
        newest_id = made_ms = 0
        for line in arrival.lines:
            try:
                post_id = head_of(line)
                newest_id = max(newest_id, post_id)
                if post_id in ledger:
                    result.again.append(post_id)
                    continue
                key = b"%d" % post_id
                if len(key) + len(line) > self._max_record_bytes:
                    raise BadRecord(  # noqa: TRY301  # handled like every other bad record
                        f"The post {post_id} has {len(line)} bytes, the topic takes {self._max_record_bytes}: "
                        f"raise max.message.bytes of the topic"
                    )
            except BadRecord as exc:
                if not self.dead_letters:
                    result.error = exc
                    break
                self._bury(line, exc, arrival.at, result)
                continue
            ledger.add(post_id)
            ids.append(post_id)
            made_ms = created_ms(post_id)
            if source is not None and (not until_id or post_id < until_id):
                records.append(SourceRecord(key, line, made_ms, source))
            else:
                records.append(SourceRecord(key, line, made_ms))
        result.newest_id = newest_id
        posts = len(records) - before
        if posts and (source is None or until_id):  # posts that were found by a repair say nothing about delays
            result.waits.append((arrival.at, made_ms / 1000, posts))

    def _bury(self, line: bytes, error: BadRecord, at: float, result: Converted) -> None:
        result.dead_letters.append(self.letter(line, error, at))
        result.dropped.append((error.name, str(error), len(line)))

    def letter(self, line: bytes, error: BadRecord, at: float) -> DeadLetter:
        """Return the dead letter for *line*, which was read at *at* (`clock.now`) and is bad because of *error*."""
        headers = (
            ("error.class", error.name.encode()),
            ("error.message", str(error)[:_MAX_HEADER_CHARACTERS].encode()),
            ("connector", self._connector.encode()),
            ("received_at", to_iso(int(at * 1000)).encode()),
        )
        return self.fitting(DeadLetter(line, headers))

    def fitting(self, letter: DeadLetter) -> DeadLetter:
        """Return *letter*, cut to the size that the dead letter topic takes."""
        length = len(letter.value)
        if length <= self._max_dead_letter_bytes:
            return letter
        headers = dict(letter.headers)
        headers.setdefault(_WHOLE, str(length).encode())
        return DeadLetter(letter.value[: self._max_dead_letter_bytes], tuple(headers.items()))
