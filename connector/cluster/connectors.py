"""
The connectors of the group: what any worker may ask and change (`web.connect.ports.Connectors`).

A change is decided on all that was confirmed to anybody before its request arrived, and again on all that was written
before it: if the same connector was changed in between, it is refused and writes nothing.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from secrets import token_hex
from typing import Any, Protocol

from aiokafka.errors import KafkaError

from connector.cluster import configs as records
from connector.cluster import sentences
from connector.cluster.asker import asker
from connector.cluster.config_writer import ConfigWriter
from connector.cluster.configs import Configs, Connector, Placement, Record, Restart, TargetState
from connector.cluster.offset_changes import Change, OffsetChanges
from connector.cluster.overview import Overview
from connector.cluster.placement import place
from connector.cluster.plugins import Plugin, Plugins
from connector.cluster.refused import Conflicting, Refused, Unavailable
from connector.cluster.statuses import Statuses
from connector.cluster.validation import Judged, accept, check_size, judge, plugin_of
from connector.config.options import Problem
from connector.config.vault import Vault
from connector.coverage.progress import OFFSET, REPAIRED, RULES
from connector.errors import BrokerUnsuitable
from connector.kafka.state.offsets import connector_of, encode_key
from connector.records.record import TaskId
from connector.task.status import State
from connector.telemetry.events.cluster import (
    ConnectorChanged,
    ConnectorCreated,
    ConnectorDeleted,
    ConnectorPaused,
    ConnectorRestarted,
    ConnectorResumed,
    ConnectorStopped,
    OffsetsChanged,
    RulesLookAsked,
)
from connector.telemetry.events.event import Event

Partition = Mapping[str, Any]
Offset = Mapping[str, Any]
MAX_OFFSETS = 1000
"""The most source partitions in one request."""

_MOVED = {
    TargetState.RUNNING: ConnectorResumed,
    TargetState.PAUSED: ConnectorPaused,
    TargetState.STOPPED: ConnectorStopped,
}


class Slots(Protocol):
    """The slots of the group; `kafka.slot_topics.SlotTopics`."""

    @property
    def count(self) -> int:
        """How many there are, as far as this worker knows."""

    async def grow(self, wanted: int) -> None:
        """
        See to it that there are at least *wanted* slots.

        Raises:
            BrokerUnsuitable: there may not be so many, or Kafka does not let this worker add partitions.
            KafkaError, OSError, TimeoutError: Kafka does not answer.
        """


class Connectors:
    """
    Reads and changes the connectors of the group.

    *transactional_id* returns the id with which a connector's task delivers; None without transactions.  *slots*
    says how many slots the group has, and lets them grow.
    """

    def __init__(  # noqa: PLR0913  # its collaborators
        self,
        *,
        configs: Configs,
        overview: Overview,
        writer: ConfigWriter,
        plugins: Plugins,
        vault: Vault,
        statuses: Statuses,
        changes: OffsetChanges,
        transactional_id: Callable[[Connector, TaskId], str | None],
        slots: Slots,
        emit: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self._emit = emit
        self._configs, self._overview, self._writer, self._plugins = configs, overview, writer, plugins
        self._statuses, self._changes = statuses, changes
        self._transactional_id, self._slots, self._vault = transactional_id, slots, vault
        self._no_more_slots = False

    # -- what is known

    def names(self) -> list[str]:
        """Return the names of all connectors."""
        return self._overview.names()

    def info(self, name: str) -> dict[str, Any] | None:
        """Return Connect's ConnectorInfo; None for an unknown connector."""
        return self._overview.info(name)

    def status(self, name: str) -> dict[str, Any] | None:
        """Return Connect's status; None for an unknown connector."""
        return self._overview.status(name)

    def task_configs(self, name: str) -> list[dict[str, Any]] | None:
        """Return id and configuration of each task, none for a stopped connector; None for an unknown one."""
        return self._overview.task_configs(name)

    def offsets(self, name: str) -> list[dict[str, Any]] | None:
        """Return source partitions and offsets; None for an unknown connector."""
        return self._overview.offsets_of(name)

    def topics(self, name: str) -> list[str]:
        """Return the topics to which the connector has written since its creation or the last reset."""
        return self._statuses.topics_of(name)

    async def reset_topics(self, name: str) -> None:
        """Forget these topics."""
        self._statuses.forget_topics(name)

    # -- configurations

    async def create(
        self,
        name: str,
        config: Mapping[str, str],
        *,
        state: TargetState = TargetState.RUNNING,
        offsets: Sequence[tuple[Partition, Offset]] = (),
    ) -> dict[str, Any]:
        """Create a connector in *state*, perhaps with initial *offsets*; return its ConnectorInfo."""
        await self._writer.fresh()
        plugin, stored, warnings = self._judged(name, config)
        if self._configs.get(name) is not None:
            raise sentences.exists(name)
        if offsets:
            self._check_offsets(plugin, offsets)
        begin = TargetState.STOPPED if offsets else state
        await self._make_room(name, stored, plugin)

        def decide() -> Sequence[Record]:
            if self._configs.get(name) is not None:
                raise sentences.exists(name)
            return records.created(self._new(name, stored, plugin, begin))

        await self._writer.write(decide)
        self._emit(ConnectorCreated(connector=name, by=asker()))
        if offsets:
            await self.alter_offsets(name, offsets)
            await self.set_state(name, state)
        return self._present(name, warnings)

    async def put_config(self, name: str, config: Mapping[str, str]) -> tuple[dict[str, Any], bool]:
        """Replace the configuration, or create the connector; return its ConnectorInfo, and whether it is new."""
        await self._writer.fresh()
        before = self._configs.get(name)
        if before is None:
            return await self.create(name, config), True
        plugin, stored, warnings = self._judged(name, config, before)
        await self._replace(before, stored, plugin)
        return self._present(name, warnings), False

    async def patch_config(self, name: str, changes: Mapping[str, str | None]) -> dict[str, Any]:
        """Set options, or remove those whose value is None; return the ConnectorInfo."""
        await self._writer.fresh()
        before = self._configs.get(name)
        if before is None:
            raise sentences.no_connector(name)
        merged = {option: text for option, text in {**before.config, **changes}.items() if text is not None}
        plugin, stored, warnings = self._judged(name, merged, before)
        await self._replace(before, stored, plugin)
        return self._present(name, warnings)

    async def delete(self, name: str) -> None:
        """Delete the connector; its offsets stay."""
        await self._writer.fresh()
        before = self._configs.get(name)
        if before is None:
            raise sentences.no_connector(name)
        self._check_declared(before, but_stopped=True)

        def decide() -> Sequence[Record]:
            found = self._configs.get(name)
            if found is None:
                raise sentences.no_connector(name)
            return records.deleted(found)

        await self._writer.write(decide)
        self._emit(ConnectorDeleted(connector=name, by=asker()))
        self._statuses.forget(name, len(before.slots))

    async def declare(self, name: str, config: Mapping[str, str], worker: str) -> bool | None:
        """
        Create or change the connector that the environment of *worker* declares.

        Return whether it is new; None if it was there as it should be.
        """
        before = self._configs.get(name)
        if before is not None and before.config == config and before.declared_by is not None:
            return None
        plugin = plugin_of(self._plugins, config)
        await self._make_room(name, config, plugin, worker)

        def decide() -> Sequence[Record]:
            found = self._configs.get(name)
            if found is None:
                return records.created(self._new(name, config, plugin, TargetState.RUNNING, declared_by=worker))
            return self._changed(replace(found, config=dict(config), declared_by=worker), plugin)

        await self._writer.write(decide)
        return before is None

    async def restore(self) -> None:
        """Write again all that is known of connectors: the topic was deleted, and this worker still knows them."""
        await self._writer.write(lambda: records.everything(self._configs))

    async def retired(self, connector: Connector) -> None:
        """Take note that the rules of the deleted *connector* at X are deleted."""
        await self._writer.write(
            lambda: [(records.RETIRED + connector.name, None)] if connector in self._configs.retired() else []
        )

    def judge(self, config: Mapping[str, str]) -> Judged:
        """
        Judge a configuration as if it were put.

        Raises:
            Refused: it names no class, or one that this worker does not have, or it has too many options.
        """
        name = config.get("name", "")
        return judge(self._plugins, *self._sealed(name, config, self._configs.get(name)))

    def _judged(
        self, name: str, config: Mapping[str, str], before: Connector | None = None
    ) -> tuple[Plugin, dict[str, str], Sequence[str]]:
        """
        Return the class, the configuration to store, and what is worth a warning.

        *before* is the connector as it is, None for a new one.

        Raises:
            Refused: the configuration is wrong.
        """
        given = {**config, "name": config.get("name", name)}
        if given["name"] != name:
            raise sentences.names_differ(given["name"], name)
        stored, problems = self._sealed(name, given, before)
        judged = accept(self._plugins, stored, problems)
        return judged.plugin, stored, judged.verdict.warnings

    def _sealed(
        self, name: str, config: Mapping[str, str], before: Connector | None
    ) -> tuple[dict[str, str], tuple[Problem, ...]]:
        check_size(config)
        return self._vault.sealed(name, config, {} if before is None else before.config)

    async def _replace(self, before: Connector, config: Mapping[str, str], plugin: Plugin) -> None:
        self._check_declared(before)
        await self._make_room(before.name, config, plugin)
        options = _differing(before.config, config)

        def decide() -> Sequence[Record]:
            found = self._configs.get(before.name)
            if found is not None and found.config == config:
                return []
            if found is None or found.config != before.config:
                raise sentences.stale()
            return self._changed(replace(found, config=dict(config)), plugin)

        await self._writer.write(decide)
        if options:
            self._emit(ConnectorChanged(connector=before.name, options=options, by=asker()))

    def _changed(self, connector: Connector, plugin: Plugin) -> list[Record]:
        """Return the records of *connector*, whose configuration is new: it may have other tasks, or another stream."""
        placement = self._placed(connector.name, connector.config, plugin, connector.declared_by)
        idle = connector.target is not TargetState.RUNNING and not connector.tasks  # stopped, or created so
        placed = replace(connector, placement=placement, tasks=0 if idle else len(placement.slots))
        return [records.placed(placed), *records.committed(placed), records.configured(placed)]

    def _new(
        self, name: str, config: Mapping[str, str], plugin: Plugin, state: TargetState, declared_by: str | None = None
    ) -> Connector:
        placement = self._placed(name, config, plugin, declared_by)
        running = state is TargetState.RUNNING
        return Connector(
            name=name,
            config=dict(config),
            target=state,
            placement=placement,
            tasks=len(placement.slots) if running else 0,
            idle_ms=None if running else (_now_ms(), None),
            declared_by=declared_by,
        )

    def _place(self, name: str, config: Mapping[str, str], plugin: Plugin, declared_by: str | None) -> Placement | None:
        offsets = self._overview.offsets
        return place(
            self._configs,
            name,
            identity=plugin.stream_of(name, config, declared_by),
            count=plugin.tasks(config),
            slots=self._slots.count,
            mine=offsets.slots_of(name),
            reserved=() if self._no_more_slots else self._kept(name),
        )

    def _kept(self, name: str) -> set[int]:
        """Return the slots that other names than *name* have used; their offsets may not be known yet."""
        left = {slot for other, placement in self._configs.left().items() if other != name for slot in placement.slots}
        return left | self._overview.offsets.slots_of_others(name)

    def _placed(self, name: str, config: Mapping[str, str], plugin: Plugin, declared_by: str | None) -> Placement:
        placement = self._place(name, config, plugin, declared_by)
        if placement is None:  # another worker has taken the slots since there was room
            raise sentences.stale()
        return placement

    async def _make_room(
        self, name: str, config: Mapping[str, str], plugin: Plugin, declared_by: str | None = None
    ) -> None:
        """
        See to it that there are slots for the tasks of *config*.

        Raises:
            Refused: there are none, and no more can be made.
            Unavailable: Kafka does not answer.
        """
        self._no_more_slots = False
        if self._place(name, config, plugin, declared_by) is not None:
            return
        taken = self._configs.slots_in_use().union(self._kept(name))
        try:
            await self._slots.grow(len(taken) + plugin.tasks(config))
        except BrokerUnsuitable as exc:
            self._no_more_slots = True  # then those of deleted connectors are used
            if self._place(name, config, plugin, declared_by) is None:
                raise Refused(str(exc)) from exc
        except (KafkaError, OSError, TimeoutError) as exc:
            raise Unavailable(f"Kafka does not answer: {type(exc).__name__}: {exc}") from exc

    @staticmethod
    def _check_declared(connector: Connector, *, but_stopped: bool = False) -> None:
        if connector.declared_by is None or (but_stopped and connector.target is TargetState.STOPPED):
            return
        more = " Stop it first to delete it." if but_stopped else ""
        raise Conflicting(
            f"The connector {connector.name} is declared by the environment of the worker {connector.declared_by}"
            f" (CONNECTOR_ variables): change it there, and restart the worker.{more}"
        )

    def _present(self, name: str, warnings: Sequence[str]) -> dict[str, Any]:
        """Return the ConnectorInfo of *name*, whose configuration was just set, with *warnings* if there are any."""
        found = self.info(name)
        if found is None:  # deleted since
            raise sentences.no_connector(name)
        return {**found, "warnings": list(warnings)} if warnings else found

    # -- states

    async def set_state(self, name: str, state: TargetState) -> None:
        """Resume, pause or stop the connector."""

        def decide() -> Sequence[Record]:
            found = self._configs.get(name)
            if found is None:
                raise sentences.no_connector_to_move(name)
            if found.target is state:
                return []
            after = records.moved(found, state, _now_ms())
            return [*(records.committed(after) if after.tasks != found.tasks else ()), records.targeted(after)]

        await self._writer.fresh()
        before = self._configs.get(name)
        if before is None:
            raise sentences.no_connector_to_move(name)
        await self._writer.write(decide)
        if before.target is not state:
            self._emit(_MOVED[state](connector=name, by=asker()))

    async def restart(self, name: str, *, include_tasks: bool, only_failed: bool) -> dict[str, Any]:
        """Restart the connector, and perhaps its tasks; return its status, RESTARTING where something restarts."""
        await self._writer.fresh()
        status = self.status(name)
        if status is None:
            raise sentences.no_connector_to_restart(name)
        restart = Restart(name, token_hex(8), include_tasks=include_tasks, only_failed=only_failed)
        await self._write_restart(restart, "the connector with its tasks" if include_tasks else "the connector")
        entries = [status["connector"], *(status["tasks"] if include_tasks else ())]
        for entry in entries:
            if not only_failed or entry["state"] == State.FAILED:
                entry["state"] = State.RESTARTING
                entry.pop("trace", None)
        return status

    async def restart_task(self, name: str, number: int) -> None:
        """Restart one task."""
        await self._writer.fresh()
        found = self._configs.get(name)
        if found is None:
            raise sentences.no_connector_to_restart(name)
        if not 0 <= number < found.tasks:
            raise sentences.no_task_to_restart(name, number)
        await self._write_restart(Restart(name, token_hex(8), task=number), f"the task {number}")

    async def _write_restart(self, restart: Restart, part: str) -> None:
        def decide() -> Sequence[Record]:
            if self._configs.get(restart.connector) is None:
                raise sentences.no_connector_to_restart(restart.connector)
            return [records.restarted(restart)]

        await self._writer.write(decide)
        self._emit(ConnectorRestarted(connector=restart.connector, part=part, by=asker()))

    async def look_at_rules(self, name: str) -> None:
        """Let the worker that runs the task of *name* see at once whether X holds the rules."""

        def decide() -> Sequence[Record]:
            if self._configs.get(name) is None:
                raise sentences.no_connector(name)
            return [records.looked(name, token_hex(8))]

        await self._writer.fresh()
        await self._writer.write(decide)
        self._emit(RulesLookAsked(connector=name, by=asker()))

    # -- offsets

    async def alter_offsets(self, name: str, offsets: Sequence[tuple[Partition, Offset | None]]) -> None:
        """Set the offsets of a STOPPED connector; None removes one."""
        await self._writer.fresh()
        found = self._stopped(name)
        if not offsets:
            raise sentences.no_offsets()
        plugin = plugin_of(self._plugins, found.config)
        self._check_offsets(plugin, offsets)
        by_slot: dict[int, list[tuple[Partition, Offset | None]]] = {}
        for partition, offset in offsets:
            by_slot.setdefault(found.slots[plugin.task_of(found.config, partition, len(found.slots))], []).append(
                (partition, offset)
            )

        def decide(slot: int, held: Mapping[bytes, bytes]) -> Sequence[Change]:
            return [
                change
                for partition, offset in by_slot.get(slot, ())
                for change in self._altered(plugin, name, partition, offset, held)
            ]

        await self._gather(found, plugin)
        await self._changes.write(self._fenced(found), decide)
        self._emit(OffsetsChanged(connector=name, by=asker()))

    async def _gather(self, connector: Connector, plugin: Plugin) -> None:
        """
        Bring the offsets from slots that the connector had before into those that it has.

        Raises:
            Unavailable: Kafka does not answer.
        """

        def number_of(partition: Mapping[str, str]) -> int:
            return plugin.task_of(connector.config, partition, len(connector.slots))

        try:
            for number in range(len(connector.slots)):
                await self._changes.gather(connector, number, number_of, self._transactional_id)
        except (KafkaError, OSError, TimeoutError) as exc:
            raise Unavailable(f"Kafka does not answer: {type(exc).__name__}: {exc}") from exc

    async def reset_offsets(self, name: str) -> None:
        """Remove all offsets of a STOPPED connector."""
        await self._writer.fresh()
        found = self._stopped(name)
        await self._gather(found, plugin_of(self._plugins, found.config))

        def decide(_slot: int, held: Mapping[bytes, bytes]) -> Sequence[Change]:
            return [(key, None) for key in held if connector_of(key) == name]

        await self._changes.write(self._fenced(found), decide)
        self._emit(OffsetsChanged(connector=name, by=asker()))

    def _stopped(self, name: str) -> Connector:
        found = self._configs.get(name)
        if found is None:
            raise sentences.no_connector(name)
        if found.target is not TargetState.STOPPED:
            raise sentences.not_stopped(name)
        return found

    @staticmethod
    def _altered(
        plugin: Plugin, name: str, partition: Partition, offset: Offset | None, held: Mapping[bytes, bytes]
    ) -> Iterator[Change]:
        texts = {str(field): str(value) for field, value in partition.items()}
        if offset is None:
            yield from ((encode_key(name, texts, kind), None) for kind in (OFFSET, REPAIRED, RULES))
            return
        key = encode_key(name, texts)
        try:
            yield key, plugin.altered(held.get(key), offset)
        except ValueError as exc:
            raise Refused(str(exc)) from exc

    @staticmethod
    def _check_offsets(plugin: Plugin, offsets: Sequence[tuple[Partition, Offset | None]]) -> None:
        if len(offsets) > MAX_OFFSETS:
            raise Refused(f"At most {MAX_OFFSETS} offsets can be set at once: send several requests.")
        for partition, offset in offsets:
            if offset is not None:
                try:
                    plugin.check_offset(partition, offset)
                except ValueError as exc:
                    raise Refused(str(exc)) from exc

    def _fenced(self, connector: Connector) -> dict[int, str | None]:
        """Return the transactional id of each slot of *connector*; None without transactions."""
        return {
            slot: self._transactional_id(connector, TaskId(connector.name, number))
            for number, slot in enumerate(connector.slots)
        }


def _differing(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the options that have other values, or are in one of the configurations alone."""
    return tuple(sorted(name for name in {**before, **after} if before.get(name) != after.get(name)))


def _now_ms() -> int:
    return int(time.time() * 1000)
