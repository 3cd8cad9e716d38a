"""
Lets no metadata request create a topic.

With `auto.create.topics.enable=true`, Kafka's default, a client that asks about an absent topic creates it, with one
partition and none of our settings: a deleted offsets topic would come back without compaction.  aiokafka asks in this
way, and has no argument to change that.
"""

from functools import partial

from aiokafka.protocol.metadata import MetadataRequest

from connector.kafka.internals import replace_metadata_request

metadata_of = partial(MetadataRequest, allow_auto_topic_creation=False)
"""A request for the metadata of topics that creates none of them."""


def make_no_topics() -> None:
    """Let all aiokafka clients of this process ask with `metadata_of`."""
    replace_metadata_request(metadata_of)
