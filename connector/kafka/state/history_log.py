"""Follows the topic of a group's history: the minutes of the last day, and all that is kept for longer."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from logging import getLogger

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from connector.history.fold import History
from connector.history.records import MINUTES, decode
from connector.kafka.brokers import KafkaCluster
from connector.kafka.state.compacted_log import CompactedLog
from connector.telemetry.events.event import Event
from connector.telemetry.obstacles import Obstacles

WORK_SECS, REST_SECS = 0.003, 0.012
"""While a worker reads the past, it applies records for so long, then rests: its tasks and its start come first."""

MAX_STRANGE = 100
"""The most records that are logged as not understood."""

_log = getLogger(__name__)


class HistoryLog(CompactedLog):
    """
    Applies the records of *topic* to *history*.

    Nothing waits for it but what shows the history: a start does not, and neither do tasks.
    """

    follow_ms = 3_000  # less than `SILENCE_SECS`; nobody waits for its answers

    def __init__(
        self,
        cluster: KafkaCluster,
        topic: str,
        history: History,
        *,
        obstacles: Obstacles,
        emit: Callable[[Event], None],
        trust_end_offsets: Callable[[], bool],
    ) -> None:
        super().__init__(
            cluster,
            topic,
            lambda _key, _value, _partition: None,  # `_take` needs the offsets, too
            obstacles=obstacles,
            emit=emit,
            trust_end_offsets=trust_end_offsets,
        )
        self._history, self._strange = history, 0
        self._trusted = trust_end_offsets

    @property
    def reached(self) -> Mapping[int, int]:
        """The offset of the last record of each partition that was applied; none for a partition without records."""
        return self._reached

    def follow_anew(self) -> None:
        """Forget the history and read from the first record: another topic has this name now."""
        super().follow_anew()
        self._history.clear()

    async def _first(self, consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
        if partition.partition != MINUTES or not self._trusted():
            return None
        found = await consumer.offsets_for_times({partition: self._history.begin_secs * 1000})
        first = found[partition]
        return None if first is None else int(first.offset)

    async def _take(self, rounds: Mapping[TopicPartition, Sequence[ConsumerRecord[bytes, bytes]]]) -> None:
        begun = time.monotonic()
        for tp, records in rounds.items():
            for record in records:
                if self._anew:  # these are of the topic that is gone
                    return
                self._apply_record(record)
                self._reached[tp.partition] = record.offset
                self._next[tp] = record.offset + 1
                if time.monotonic() - begun >= WORK_SECS:
                    await asyncio.sleep(REST_SECS)
                    begun = time.monotonic()
        if rounds:
            async with self._progress:
                self._progress.notify_all()

    def _apply_record(self, record: ConsumerRecord[bytes, bytes]) -> None:
        try:
            self._history.apply(decode(record.value or b""), record.offset)
        except (ValueError, TypeError, OverflowError) as exc:
            self._strange += 1
            if self._strange <= MAX_STRANGE:
                _log.warning("A record of %s cannot be read: %s", self.topic, exc)
