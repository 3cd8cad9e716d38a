"""
Writes the offsets of a connector for which no task runs: fences its tasks, then changes them in one transaction.

Somebody sets the offsets of a STOPPED connector (`write`), or a task begins in another slot than the one where the
offsets of its source partitions lie, and brings them along (`gather`).  A worker that was paused while it ran the task,
and does not know yet that the connector was stopped, is fenced: it can no longer commit an offset of its own over the
new one.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from aiokafka.errors import KafkaError

from connector.cluster.configs import Configs, Connector
from connector.cluster.refused import Conflicting, Unavailable
from connector.cluster.statuses import Statuses
from connector.kafka.brokers import KafkaCluster
from connector.kafka.delivery.record_writer import FENCED, RecordWriter
from connector.kafka.rights import WRITE, refused
from connector.kafka.state.compacted_log import CompactedLog
from connector.kafka.state.offsets import OffsetTable, connector_of, read_committed
from connector.records.record import TaskId
from connector.task.endings import to_the_end
from connector.task.status import State

CHANGE_SECS = 20.0

RELEASE_SECS = (2.0, 8.0)
"""
The longest wait for the task that read for a connector to let go of it: if it read for that one alone, and if it reads
on for others, which would be fenced, too.  A task of the connector itself that stays in its slot lets nothing go.
"""

RELEASE_POLL_SECS = 0.1

FENCED_PAUSE_SECS = 0.3
"""The least pause before a move that was fenced is tried again."""

Change: TypeAlias = tuple[bytes, bytes | None]
"""A key of the offsets topic, and its new value; None removes it."""

Decide: TypeAlias = Callable[[int, Mapping[bytes, bytes]], Sequence[Change]]
"""Returns the changes in the partition of a slot, given the values that it holds."""

NumberOf: TypeAlias = Callable[[Mapping[str, str]], int]
"""Returns which task of a connector reads a source partition."""


class OffsetChanges:
    """Writes into the topic that *log* follows into *offsets*; *configs* and *statuses* are those of the group."""

    def __init__(
        self,
        cluster: KafkaCluster,
        log: CompactedLog,
        offsets: OffsetTable,
        configs: Configs,
        statuses: Statuses,
        *,
        trust_end_offsets: Callable[[], bool],
    ) -> None:
        self._cluster, self._log, self.offsets = cluster, log, offsets
        self._configs, self._statuses = configs, statuses
        self._trust_end_offsets = trust_end_offsets

    async def write(self, slots: Mapping[int, str | None], decide: Decide) -> None:
        """
        Write what *decide* returns for each slot, and return when this worker has read it.

        *slots* maps each slot to its transactional id, None without transactions.  *decide* may raise: then nothing
        more is written.

        Raises:
            Conflicting: the task has begun, or another change of the offsets; it came later, and counts.
            Unavailable: Kafka does not answer; whether the changes are in the topic is not known.
        """
        try:
            async with asyncio.timeout(CHANGE_SECS):
                for slot, transactional_id in slots.items():
                    await self._write(slot, transactional_id, decide)
        except TimeoutError as exc:
            sentence = f"Kafka has not confirmed within {CHANGE_SECS:g} s: look whether the change is there"
            raise Unavailable(sentence) from exc
        except FENCED as exc:
            raise Conflicting(
                "The task has begun meanwhile, or somebody else changes the same offsets: look at them, and try again."
            ) from exc
        except (KafkaError, OSError) as exc:
            missing = refused(exc, self._cluster.user, WRITE, topic=self._log.topic)
            reason = str(missing) if missing else f"Kafka has not confirmed the change: {type(exc).__name__}: {exc}"
            raise Unavailable(reason) from exc

    async def gather(
        self,
        connector: Connector,
        number: int,
        number_of: NumberOf,
        transactional_id: Callable[[Connector, TaskId], str | None],
    ) -> bool:
        """
        Bring what lies in earlier slots of *connector*, and belongs to its task *number*, into the slot of that task.

        Call it before that task begins.  *transactional_id* returns the id that a task used, None without transactions.
        The task of an earlier slot has `RELEASE_SECS` to let go of *connector*; if it still uses its id then, it is
        fenced, and begins again.  Return False, with nothing moved, if *connector* got other slots meanwhile.

        Raises:
            KafkaError, OSError, TimeoutError: Kafka does not answer; the next call finds what has not come yet.
        """
        placement = connector.placement
        if placement is None or not placement.earlier:
            return True
        slot, owners = placement.slots[number], replace(connector, placement=None)
        known = {each.slot: each.task for each in (*placement.earlier, *placement.tasks)}
        async with asyncio.timeout(CHANGE_SECS):
            await self._log.fresh()
        tasks = {
            old: known.get(old, TaskId(connector.name, 0))
            for old in self._elsewhere(connector.name, slot, number, number_of)
        }
        left = {old: task for old, task in tasks.items() if old not in placement.slots}
        if not await self._wait_for_release(connector, left):
            return False
        async with asyncio.timeout(CHANGE_SECS):
            await self._log.fresh()  # with what was committed before it was let go
            for old, keys in self._elsewhere(connector.name, slot, number, number_of).items():
                task = known.get(old, TaskId(connector.name, 0))
                await self._bring(keys, old, slot, transactional_id(owners, task))
        return True

    async def _wait_for_release(self, connector: Connector, tasks: Mapping[int, TaskId]) -> bool:
        """
        Wait until the *tasks*, by earlier slot, have let go of *connector*, or have had the time for it.

        Return False if *connector* was deleted, or got other slots.
        """
        alone, beside = RELEASE_SECS
        since = time.monotonic()
        limits = {slot: beside if self._configs.all_at(slot) else alone for slot in tasks}
        while (found := self._configs.get(connector.name)) is not None and found.placement == connector.placement:
            waited = time.monotonic() - since
            if all(waited >= limits[slot] or self._is_released(connector, task) for slot, task in tasks.items()):
                return True
            await asyncio.sleep(RELEASE_POLL_SECS)
        return False

    def _is_released(self, connector: Connector, task: TaskId) -> bool:
        """Return whether no worker says that its *task*, of an earlier slot, reads for *connector*."""
        shared = self._statuses.of(TaskId(connector.name, task.number))
        return shared is None or shared.status.state not in {State.RUNNING, State.RESTARTING}

    def _elsewhere(self, connector: str, slot: int, number: int, number_of: NumberOf) -> dict[int, list[bytes]]:
        """Return the keys of what task *number* reads that lie in other slots than *slot*, by their slot."""
        found: dict[int, list[bytes]] = {}
        for key, partition, slots in self.offsets.places(connector):
            if number_of(partition) == number:
                for other in sorted(slots - {slot}):
                    found.setdefault(other, []).append(key)
        return found

    async def _bring(self, keys: Sequence[bytes], old: int, slot: int, transactional_id: str | None) -> None:
        """Move *keys* from *old* to *slot*; what is already there is newer, and stays as it is."""
        there = {key for key, _, slots in self.offsets.places(connector_of(keys[0]) or "") if slot in slots}

        def changes(held: Mapping[bytes, bytes]) -> dict[int, Sequence[Change]]:
            coming = [(key, held[key]) for key in keys if key in held and key not in there]
            return {slot: coming, old: [(key, None) for key in keys if key in held]}  # first there, then away

        while True:
            try:
                return await self._change(old, transactional_id, changes)
            except FENCED:  # another task of the connector fetches its own, or the one before begins once more
                await asyncio.sleep(FENCED_PAUSE_SECS * (1 + random.random()))  # noqa: S311  # no secret

    async def _write(self, slot: int, transactional_id: str | None, decide: Decide) -> None:
        await self._change(slot, transactional_id, lambda held: {slot: decide(slot, held)})

    async def _change(
        self,
        slot: int,
        transactional_id: str | None,
        changes: Callable[[Mapping[bytes, bytes]], Mapping[int, Sequence[Change]]],
    ) -> None:
        """Write what *changes* returns for each partition, given the values that the partition of *slot* holds."""
        writer = RecordWriter(self._cluster, transactional_id)
        try:
            await writer.open()
            trusted = self._trust_end_offsets()
            held = await read_committed(self._cluster, self._log.topic, slot, trust_end_offsets=trusted)
            wanted = {partition: those for partition, those in changes(held.latest).items() if those}
            written = await writer.write_all(self._log.topic, wanted) if wanted else {}
        finally:
            await to_the_end(writer.close())
        for partition, offset in written.items():
            await self._log.reach(partition, offset)
