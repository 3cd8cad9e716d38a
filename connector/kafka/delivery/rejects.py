"""
What does Kafka say of records that it does not take, and which setting is to be looked at?

An answer of this kind is about the records and not about the connection: to send them again changes nothing.  aiokafka
raises it without the topic and without the broker's words, so `note` looks at the answers before aiokafka does.
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
"""By the number of Kafka's error: its name, and what to look at."""

Places = dict[tuple[str, int], int]
"""Topic and partition whose last answer was a refusal, and its number."""


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


def refusal_of(places: Places, topic: str, cutting: Collection[str]) -> DeliveryFailed | BrokerUnsuitable | None:
    """
    Return what the refusals in *places* mean to a task that writes to *topic*, None if there are none.

    Records of other topics are the connector's own, so that a refusal of those is a fault of the set-up; except that
    those of the topics *cutting* are made smaller once it is known what the topic takes.
    """
    own = [number for (name, number) in places if name == topic]
    others = {name: code for (name, _), code in places.items() if name != topic}
    for name, code in others.items():
        if not (name in cutting and code in {TOO_LARGE, LIST_TOO_LARGE}):
            error, setting = REFUSING[code]
            return BrokerUnsuitable(
                f"Kafka does not take the connector's own records for the topic {name}: {error}; check {setting}"
            )
    for (name, _), code in places.items():
        error, setting = REFUSING[code]
        return RecordsRefused(f"Kafka refuses records for the topic {name}: {error}; check {setting}", partitions=own)
    return None


def sentence(key: bytes, topic: str, code: int, words: str) -> str:
    """Return why the post *key* is not in *topic*; *words* are Kafka's, if it said any."""
    error, setting = REFUSING[code]
    said = f"{error}: {words.rstrip('.')}" if words else error
    return f"Kafka refuses the post {key.decode(errors='replace')} for the topic {topic}: {said}; check {setting}"
