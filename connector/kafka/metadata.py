"""
No request for metadata makes a topic.

With `auto.create.topics.enable=true`, Kafka's default, a client that asks about an absent topic makes it, with one
partition and no setting of ours: a deleted offsets topic would come back as one that is not compacted.  aiokafka asks
that way and has no argument for the other.
"""

from functools import partial

from aiokafka.protocol.metadata import MetadataRequest

from connector.kafka.internals import replace_metadata_request

metadata_of = partial(MetadataRequest, allow_auto_topic_creation=False)
"""A request for the metadata of topics, which makes none of them."""


def make_no_topics() -> None:
    """Let all clients of this process ask so."""
    replace_metadata_request(metadata_of)
