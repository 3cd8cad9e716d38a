"""
The output topic as a typed channel: keys are post ids, values are posts.

Who reads the topic with Faust gets `Post` objects under string keys.  `encode` builds the record batches of posts as
the bytes that X sent.  (The names `send` and `deliver` belong to Faust's channels.)
"""

import asyncio
from typing import Any, NamedTuple

import faust
from faust.serializers.codecs import Codec

from connector.formats import Format, codec_name
from connector.kafka.delivery.partitioner import split
from connector.kafka.delivery.producer import TaskProducer
from connector.kafka.delivery.record_batch import RecordBatch, record_batches
from connector.records.post import Post
from connector.records.record import Records

RECORD_OVERHEAD_BYTES = 128
"""Most bytes that a record batch of one post has beside key and value: 61 of batch head, and the record's varints."""

POSTS_AT_ONCE = 512
"""Posts that are encoded before other tasks of the event loop run: about a quarter of a millisecond in Python."""


class Encoded(NamedTuple):
    """
    A record batch for *partition* of *topic*, to be sent in produce request number *round*.

    A produce request carries one record batch for each partition.
    """

    round: int
    topic: str
    partition: int
    batch: RecordBatch


class PostsTopic(faust.Topic):
    """
    The topic that receives the posts of one connector.

    Its values are read as *value_format* says, or by *value_codec*: `connector.formats.schemas.reading.SchemaCodec`
    for values with a schema.
    """

    def __init__(
        self,
        app: faust.App,
        *,
        topic: str | None = None,
        value_format: Format = "json",
        value_codec: Codec | None = None,
        **kwargs: Any,
    ) -> None:
        if topic is not None:  # None when Faust copies a topic for an agent: *kwargs* is complete then
            kwargs |= {"topics": [topic], "key_type": str, "value_type": Post}
            kwargs["value_serializer"] = value_codec or codec_name(value_format)
        super().__init__(app, **kwargs)
        self.name = self.get_topic_name()

    async def encode(self, producer: TaskProducer, records: Records) -> list[Encoded]:
        """
        Build the record batches of *records* for their partitions; nothing is sent yet.

        Each partition gets its batches in the order of *records*.
        """
        encoded: list[Encoded] = []
        fresh = 0
        for partition, its_records in split(records, producer.partitions(self.name)):
            for number, batch in enumerate(record_batches(its_records, producer.batch_style)):
                encoded.append(Encoded(number, self.name, partition, batch))
                fresh += batch.record_count()
                if fresh >= POSTS_AT_ONCE:
                    fresh = 0
                    await asyncio.sleep(0)  # the commit in flight sends its next request meanwhile
        return encoded
