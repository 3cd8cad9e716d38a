"""
Source offsets in Connect's format.

Key: compact JSON `["<connector>",{<source partition>}]`; value: a JSON map; a tombstone removes the offset.  Other
records beside an offset have a third element in their key: `"repaired"` for closed gaps, `"rules"` for the rules in
force now or in open gaps.  A task writes only to the partition of its slot: in a shared partition, the open transaction
of one task would hide the committed offset of another.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiokafka import TopicPartition

from connector.kafka.brokers import KafkaCluster
from connector.kafka.state import read_partition as partitions
from connector.records.record import SourcePartition


def encode_key(connector: str, partition: SourcePartition, kind: str | None = None) -> bytes:
    """
    Return the key of the offset of *partition*, or of the record of *kind* beside that offset.

    The fields of the source partition are sorted, so equal partitions have equal keys.
    """
    elements = [connector, dict(partition)] if kind is None else [connector, dict(partition), kind]
    return orjson.dumps(elements, option=orjson.OPT_SORT_KEYS)


def decode_key(key: bytes) -> tuple[str, dict[str, str]] | None:
    """Return connector and source partition, or None if *key* is not the key of an offset."""
    connector, partition, kind = _elements(key) or ("", {}, "")
    return (connector, partition) if kind is None else None


def connector_of(key: bytes) -> str | None:
    """Return the connector whose record has *key*; None for a key of other form."""
    elements = _elements(key)
    return None if elements is None else elements[0]


def _elements(key: bytes) -> tuple[str, dict[str, str], str | None] | None:
    """Return connector, source partition, and the kind of a record beside an offset; None for a key of other form."""
    try:
        connector, partition, *rest = orjson.loads(key)
    except (ValueError, TypeError):
        return None
    kind = rest[0] if rest else None
    if not isinstance(connector, str) or not isinstance(partition, dict) or len(rest) > 1:
        return None
    if rest and not isinstance(kind, str):
        return None
    return connector, partition, kind


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedOffsets:
    """
    The committed records of one slot's partition: the *latest* value of each key, and every (key, value) *seen*.

    If the outcome of a transaction was unknown, *seen* tells whether it was committed.
    """

    latest: Mapping[bytes, bytes] = field(default_factory=dict)
    seen: frozenset[tuple[bytes, bytes | None]] = frozenset()


class OffsetTable:
    """
    The latest value of each key, as far as the topic has been followed; *clock* gives monotonic seconds.

    A key that moves to another slot is removed from the partition of the old one.  The order in which two partitions
    are read is not known, so each keeps its own value until it is removed there.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._latest: dict[bytes, dict[int, bytes]] = {}
        self._covered: dict[bytes, tuple[object, float]] = {}
        self._keys: dict[str, set[bytes]] = {}

    def apply(self, key: bytes, value: bytes | None, slot: int = 0) -> None:
        """Take in a record of the offsets topic, from the partition of *slot*."""
        values = self._latest.setdefault(key, {})
        values.pop(slot, None)
        if value is not None:
            values[slot] = value
        self._note_key(key, there=bool(values))
        if not values:
            del self._latest[key]
            self._covered.pop(key, None)
        elif decode_key(key) is not None:
            covered_to = _covered_to(_last(values))
            if key not in self._covered or self._covered[key][0] != covered_to:
                self._covered[key] = covered_to, self._clock()

    def _note_key(self, key: bytes, *, there: bool) -> None:
        connector = connector_of(key)
        if connector is None:
            return
        keys = self._keys.setdefault(connector, set())
        keys.discard(key)
        if there:
            keys.add(key)
        elif not keys:
            del self._keys[connector]

    def of(self, connector: str) -> list[dict[str, object]]:
        """Return source partitions and offsets of *connector* in Connect's JSON; an invalid offset has an `error`."""
        return [{"partition": partition, **_shown(value)} for partition, _, value in self._of(connector, kind=None)]

    def slots_of(self, connector: str) -> set[int]:
        """Return the slots in whose partitions records of *connector* lie."""
        return {slot for key, values in self._latest.items() if connector_of(key) == connector for slot in values}

    def places(self, connector: str) -> list[tuple[bytes, dict[str, str], set[int]]]:
        """Return each key of *connector*, with its source partition and the slots in whose partitions it lies."""
        found = ((key, values, _elements(key)) for key, values in sorted(self._latest.items()))
        return [(key, at[1], set(values)) for key, values, at in found if at is not None and at[0] == connector]

    def slots_of_others(self, connector: str) -> set[int]:
        """Return the slots in whose partitions records of other connectors lie, also of deleted ones."""
        others = (values for key, values in self._latest.items() if connector_of(key) not in {connector, None})
        return {slot for values in others for slot in values}

    def kept(self, connector: str, kind: str) -> list[tuple[dict[str, str], Any]]:
        """Return source partitions of *connector*, each with the value of the record of *kind* beside its offset."""
        return [(partition, orjson.loads(value)) for partition, _, value in self._of(connector, kind)]

    def coverage(self, connector: str) -> list[tuple[dict[str, str], bytes, float]]:
        """
        Return source partitions of *connector*, each with its offset and the seconds without progress.

        The seconds count from when this process last saw `covered_to` change.
        """
        now = self._clock()
        return [
            (partition, value, now - self._covered[key][1]) for partition, key, value in self._of(connector, kind=None)
        ]

    def _of(self, connector: str, kind: str | None) -> Iterator[tuple[dict[str, str], bytes, bytes]]:
        for key in sorted(self._keys.get(connector, ())):
            _, partition, what = _elements(key) or ("", {}, "")
            if what == kind:
                yield partition, key, _last(self._latest[key])


def _last(values: dict[int, bytes]) -> bytes:
    """Return the value that was read last."""
    return next(reversed(values.values()))


def _shown(value: bytes) -> dict[str, object]:
    try:
        return {"offset": orjson.loads(value)}
    except ValueError as exc:
        return {"offset": None, "error": f"{value[:200]!r} is no source offset: {exc}"}


def _covered_to(value: bytes) -> object:
    try:
        return orjson.loads(value)["covered_to"]
    except (ValueError, TypeError, KeyError):
        return None  # the caller of `coverage` gets the value, and reports what is wrong with it


async def read_committed(
    cluster: KafkaCluster, topic: str, slot: int, *, trust_end_offsets: bool = True
) -> CommittedOffsets:
    """
    Return the committed offsets of *slot*; call this only after the slot's previous producer is fenced.

    Raises:
        KafkaError: the broker cannot be asked now.
    """
    latest: dict[bytes, bytes] = {}
    seen: set[tuple[bytes, bytes | None]] = set()
    reading = partitions.committed(cluster, TopicPartition(topic, slot), trust_end_offsets=trust_end_offsets)
    async with contextlib.aclosing(reading) as records:
        async for record in records:
            if record.key is None:
                continue
            if record.value is None:
                latest.pop(record.key, None)
            else:
                latest[record.key] = record.value
            seen.add((record.key, record.value))
    return CommittedOffsets(latest=latest, seen=frozenset(seen))
