"""
Turns X's lines into records or dead letters, and drops duplicates.

Each post takes this path: its id is read out of the head of the line, the ledger says whether the id is new, and the
line becomes a record, after the transforms if there are any.  A line that is not a post, or that a transform cannot
take, becomes a dead letter, or ends the task.  Whatever is dropped is counted, and new posts are counted by the rules
that they matched.
"""

from collections.abc import Mapping, Sequence
from itertools import chain

from connector.coverage.ledger import Ledger
from connector.errors import BadRecord, TransformFailed
from connector.records.matches import MatchedRule, count_ends, rules_in
from connector.records.post import MAX_DIGITS, head_of, heads_of
from connector.records.record import Arrival, Converted, DeadLetter, Limits, SourceRecord
from connector.records.snowflake import EPOCH_MS, SEQUENCE_BITS, created_ms, to_iso
from connector.transforms.transformer import Form, Transformer

_MAX_HEADER_CHARACTERS = 1000
_WHOLE = "value.bytes"


class Converter:
    """Converts the arrivals of one task; its ledger holds the ids of the posts that it has converted."""

    def __init__(
        self,
        *,
        connector: str,
        dead_letters: bool,
        transformer: Transformer | None = None,
        form: Form | None = None,
        has_rules: bool = False,
    ) -> None:
        """
        With *has_rules* new posts are counted by the rules that they matched.

        *form* says how values are written if that is all that *transformer* does: many lines at once are faster.
        """
        self._connector, self.dead_letters, self._transformer = connector, dead_letters, transformer
        self._form = form
        self.ledger = Ledger()
        self._has_rules = has_rules
        self._ends: dict[bytes, int] = {}
        self._labels: Mapping[str, str] = {}
        self._max_record_bytes = self._max_dead_letter_bytes = 0

    def change(self, *, dead_letters: bool, transformer: Transformer | None, form: Form | None = None) -> None:
        """Go on with another configuration."""
        self.dead_letters, self._transformer, self._form = dead_letters, transformer, form
        self.know_rules(self._labels)

    def know_rules(self, labels: Mapping[str, str]) -> None:
        """Tell the transforms the label of each rule at X that the connector wants, by the rule's id."""
        self._labels = labels
        if self._transformer is not None:
            self._transformer.know_rules(labels)

    def take_matched(self) -> dict[tuple[str, ...], int]:
        """
        Return how many posts matched which rules together since this was last asked: labels, sorted, to posts.

        `()` counts the posts that matched no rule of the connector.
        """
        ends, self._ends = self._ends, {}
        matched: dict[tuple[str, ...], int] = {}
        for end, posts in ends.items():
            labels = {self._label_of(rule) for rule in rules_in(end)}
            together = tuple(sorted(label for label in labels if label is not None))
            matched[together] = matched.get(together, 0) + posts
        return matched

    def _label_of(self, rule: MatchedRule) -> str | None:
        """Return the connector's label of *rule*; the tag says it of a rule that another worker has just made again."""
        label = self._labels.get(rule.id)
        if label is not None:
            return label
        prefix = f"{self._connector}/"
        return rule.tag.removeprefix(prefix) if rule.tag.startswith(prefix) else None

    def limit(self, limits: Limits) -> None:
        """
        Set the largest sizes that the topics take.

        A post that is larger than the output topic takes is a bad record.  A line that is larger than the dead letter
        topic takes is cut, and a header says so.
        """
        self._max_record_bytes, self._max_dead_letter_bytes = limits.record_bytes, limits.dead_letter_bytes

    def convert(self, arrivals: Sequence[Arrival], *, source: bytes | None = None, until_id: int = 0) -> Converted:
        """
        Return what the lines of *arrivals* become, up to the first bad record that is not tolerated.

        Records of posts with ids below *until_id*, or all records if that is 0, get *source* as their header.
        """
        result = Converted()
        whole = not until_id and (self._transformer is None or self._form is not None)
        if whole and self._convert_at_once(arrivals, result, source):
            return result
        newest_id = 0
        for arrival in arrivals:
            alone = len(arrivals) > 1 and whole and self._convert_at_once((arrival,), result, source)
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
        if not lines:
            return False
        values = lines if self._form is None else self._bodies(lines, self._form, self._max_record_bytes)
        head_bytes = 0 if self._form is None else self._form.head_bytes
        if not values or max(map(len, values)) + head_bytes + MAX_DIGITS > self._max_record_bytes:
            return False
        heads = heads_of(lines)
        if heads is None or not self.ledger.add_new(heads[0]):
            return False
        if self._has_rules:
            count_ends(lines, self._ends)
        ids, keys = heads
        times = [(post_id >> SEQUENCE_BITS) + EPOCH_MS for post_id in ids]
        result.records.extend(keys, values, times, source, None if self._form is None else lines)
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

    @staticmethod
    def _bodies(lines: Sequence[bytes], form: Form, max_bytes: int) -> Sequence[bytes]:
        """
        Return the posts in *lines* as *form* writes them; nothing if one of them is bad or has more than *max_bytes*.

        One by one, it is found again, and no other is held beside it: a body may have a thousand times as many bytes as
        its line.
        """
        bodies = []
        try:
            for line in lines:
                body = form.body(line)
                if len(body) > max_bytes:
                    return ()
                bodies.append(body)
        except (BadRecord, ValueError):
            return ()
        return bodies

    def _convert_one_by_one(self, arrival: Arrival, result: Converted, source: bytes | None, until_id: int) -> None:
        ledger, records, ids = self.ledger, result.records, result.ids
        before = len(records)
        fresh: list[bytes] = []
        newest_id = made_ms = 0
        for line in arrival.lines:
            try:
                post_id = head_of(line)
                newest_id = max(newest_id, post_id)
                if post_id in ledger:
                    result.again.append(post_id)
                    continue
                found = source if not until_id or post_id < until_id else None
                record = self._record_of(post_id, line, found)
            except BadRecord as exc:
                if not self.dead_letters:
                    result.error = exc
                    break
                self._bury(line, exc, arrival.at, result)
                continue
            ledger.add(post_id)
            ids.append(post_id)
            fresh.append(line)
            made_ms = created_ms(post_id)
            if record is None:
                result.filtered += 1
            else:
                records.append(record)
        if self._has_rules:
            count_ends(tuple(fresh), self._ends)
        result.newest_id = newest_id
        posts = len(records) - before
        if posts and (source is None or until_id):  # posts that were found by a repair say nothing about delays
            result.waits.append((arrival.at, made_ms / 1000, posts))

    def _record_of(self, post_id: int, line: bytes, source: bytes | None) -> SourceRecord | None:
        """
        Return the record of a new post; None if a transform drops it.

        Raises:
            BadRecord: a transform cannot take it, or it is larger than the topic takes.
        """
        made_ms = created_ms(post_id)
        if self._transformer is not None:
            return self._transformer.record_of(post_id, line, made_ms, source, self._max_record_bytes)
        key = b"%d" % post_id
        if len(key) + len(line) > self._max_record_bytes:
            raise BadRecord(
                f"The post {post_id} has {len(line)} bytes, the topic takes {self._max_record_bytes}: "
                f"raise max.message.bytes of the topic"
            )
        return SourceRecord(key, line, made_ms, source)

    def _bury(self, line: bytes, error: BadRecord, at: float, result: Converted) -> None:
        result.dead_letters.append(self.letter(line, error, at))
        result.dropped.append((error.name, str(error), len(line)))

    def letter(self, line: bytes, error: BadRecord, at: float) -> DeadLetter:
        """Return the dead letter for *line*, which was read at *at* (`clock.now`) and is bad because of *error*."""
        headers: tuple[tuple[str, bytes], ...] = (
            ("error.class", error.name.encode()),
            ("error.message", str(error)[:_MAX_HEADER_CHARACTERS].encode()),
            ("connector", self._connector.encode()),
            ("received_at", to_iso(int(at * 1000)).encode()),
        )
        if isinstance(error, TransformFailed) and error.transform:
            headers = (*headers, ("transform", error.transform.encode()))
        return self.fitting(DeadLetter(line, headers))

    def fitting(self, letter: DeadLetter) -> DeadLetter:
        """Return *letter*, cut to the size that the dead letter topic takes."""
        length = len(letter.value)
        if length <= self._max_dead_letter_bytes:
            return letter
        headers = dict(letter.headers)
        headers.setdefault(_WHOLE, str(length).encode())
        return DeadLetter(letter.value[: self._max_dead_letter_bytes], tuple(headers.items()))
