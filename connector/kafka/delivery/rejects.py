"""
Notes which partitions refuse records, and names for each of Kafka's errors the setting to check.

Such an error is about the records, not about the connection: sending them again changes nothing.  aiokafka raises it
without the topic and without the broker's message, so `note` reads the answers before aiokafka does.
"""

from collections.abc import Collection, Mapping
from typing import Any

from aiokafka.protocol.produce import ProduceRequest

from connector.errors import BrokerUnsuitable, DeliveryFailed, RecordsRefused

CORRUPT, TOO_LARGE, LIST_TOO_LARGE, OUT_OF_TIME, OLD_FORMAT, INVALID = 2, 10, 18, 32, 43, 87

REFUSING: Mapping[int, tuple[str, str]] = {
    CORRUPT: ("CorruptRecord", "the network between here and Kafka, or the topic's cleanup.policy"),
    TOO_LARGE: ("MessageTooLarge", "max.message.bytes of the topic"),
    LIST_TOO_LARGE: ("RecordListTooLarge", "segment.bytes of the topic"),
    OUT_OF_TIME: (
        "InvalidTimestamp",
        "message.timestamp.before.max.ms and message.timestamp.after.max.ms of the topic, and the brokers' clocks",
    ),
    OLD_FORMAT: ("UnsupportedForMessageFormat", "message.format.version of the topic"),
    INVALID: ("InvalidRecord", "cleanup.policy of the topic: a compacted one takes no record without a key"),
}
"""By Kafka's error number: the error's name, and what to check."""

Places = dict[tuple[str, int], int]
"""Kafka's error number, by topic and partition, for each partition whose last answer was a refusal."""


def note(client: Any) -> Places:
    """Let *client*, an aiokafka client, note which partitions refuse records; return where it notes them."""
    places: Places = {}
    send = client.send

    async def send_noting(node_id: int, request: Any, **kwargs: Any) -> Any:
        response = await send(node_id, request, **kwargs)
        if isinstance(request, ProduceRequest) and response is not None:
            for topic, partitions in response.topics:
                for partition, code, *_ in partitions:
                    if code in REFUSING:
                        places[topic, partition] = code
                    elif places:
                        places.pop((topic, partition), None)
        return response

    client.send = send_noting
    return places


def refusal_of(
    places: Places, posts: Collection[str], letters: Collection[str | None]
) -> DeliveryFailed | BrokerUnsuitable | None:
    """
    Return the error that the refusals in *places* mean for a task; None if there are none.

    *posts* are the topics of the posts.  All other topics hold the connector's own records.  A refusal there is a fault
    of the set-up (`BrokerUnsuitable`), except of too large records in the topics *letters*: the task makes them smaller
    once it knows the topic's limit.
    """
    own = [place for place in places if place[0] in posts]
    others = {name: code for (name, _), code in places.items() if name not in posts}
    for name, code in others.items():
        if not (name in letters and code in {TOO_LARGE, LIST_TOO_LARGE}):
            error, setting = REFUSING[code]
            return BrokerUnsuitable(
                f"Kafka does not take the connector's own records for the topic {name}: {error}; check {setting}"
            )
    for (name, _), code in places.items():
        error, setting = REFUSING[code]
        return RecordsRefused(f"Kafka refuses records for the topic {name}: {error}; check {setting}", places=own)
    return None


def sentence(key: bytes, topic: str, code: int, words: str) -> str:
    """Return a sentence on why Kafka refuses the post *key* for *topic*; *words* is Kafka's message, or empty."""
    error, setting = REFUSING[code]
    said = f"{error}: {words.rstrip('.')}" if words else error
    return f"Kafka refuses the post {key.decode(errors='replace')} for the topic {topic}: {said}; check {setting}"
