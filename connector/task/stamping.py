"""
Makes values of the bodies that the conversion has left, once the ids of their schemas are known.

The conversion writes a post without the head that names its schema, so it never waits for a registry.  A batch whose
ids are not known is held: it is neither lost nor converted again, and nothing behind it is taken out of the buffers.
"""

from collections.abc import Callable, Collection, Mapping

from connector.errors import SchemaRefused
from connector.formats.schemas.writer import Stamp, Unfitting
from connector.records.record import RecordList
from connector.task.ports import Schemas


def stamp(records: RecordList, topic: str, schemas: Schemas, told: Callable[[], None]) -> bool:
    """
    Make values of all bodies in *records*, whose topic is *topic* unless they say another; return False if they wait.

    Raises:
        SchemaRefused: the registry refuses a schema, or no post can be written by its latest version.
    """
    if not records:
        return True
    stamps = schemas.stamps_for(_topics(records, topic), told)
    if stamps is None:
        return False
    try:
        records.values[:] = _values(records, topic, stamps)
    except Unfitting as unfitting:
        raise SchemaRefused(f"A post cannot be written by the latest version of its schema: {unfitting}") from None
    return True


def _topics(records: RecordList, topic: str) -> Collection[str]:
    changes = records.changes
    if changes is None:
        return (topic,)
    return dict.fromkeys((altered and altered.topic) or topic for altered in changes)


def _values(records: RecordList, topic: str, stamps: Mapping[str, Stamp]) -> list[bytes]:
    changes = records.changes
    if changes is None:
        return list(map(stamps[topic].of, records.values))
    return [
        body if altered is not None and altered.tombstone else stamps[(altered and altered.topic) or topic].of(body)
        for body, altered in zip(records.values, changes, strict=True)
    ]
