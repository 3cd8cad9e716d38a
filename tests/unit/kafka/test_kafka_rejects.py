from types import SimpleNamespace

import pytest
from aiokafka.protocol.metadata import MetadataRequest_v5
from aiokafka.protocol.produce import ProduceRequest

from connector.errors import BrokerUnsuitable, RecordsRefused
from connector.kafka.delivery.rejects import CORRUPT, INVALID, OUT_OF_TIME, TOO_LARGE, note, refusal_of, sentence
from connector.kafka.metadata import metadata_of


class Client:
    """An aiokafka client that answers with the errors given, a dict for each request."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def send(self, node, request, **kwargs):
        answer = self.answers.pop(0)
        return SimpleNamespace(topics=[("posts", [(number, code, 0, 0) for number, code in answer.items()])])


async def test_what_is_refused_is_noted():
    """Until the partition takes what is sent; errors of other kinds and requests of other kinds are no refusals."""
    client = Client({0: OUT_OF_TIME, 1: 0, 2: 6}, {0: 0, 1: TOO_LARGE}, {0: OUT_OF_TIME})
    places = note(client)
    request = ProduceRequest(None, -1, 1, [])
    seen = []
    for each in (request, request, metadata_of(["posts"])):
        await client.send(0, each)
        seen.append(dict(places))

    assert [{("posts", 0): OUT_OF_TIME}, {("posts", 1): TOO_LARGE}, {("posts", 1): TOO_LARGE}] == seen


@pytest.mark.parametrize(
    ("places", "kind", "words"),
    [
        ({}, type(None), ""),
        # single records of the output topic
        ({("posts", 2): OUT_OF_TIME}, RecordsRefused, "posts: InvalidTimestamp; check message.timestamp.before.max.ms"),
        ({("posts", 2): CORRUPT}, RecordsRefused, "CorruptRecord"),
        # letters are cut once it is known what the topic takes
        ({("letters", 0): TOO_LARGE}, RecordsRefused, "letters: MessageTooLarge; check max.message.bytes"),
        # what the connector writes itself
        ({("letters", 0): INVALID}, BrokerUnsuitable, "letters: InvalidRecord; check cleanup.policy"),
        ({("posts", 2): OUT_OF_TIME, ("ledger", 5): OUT_OF_TIME}, BrokerUnsuitable, "ledger: InvalidTimestamp"),
        ({("offsets", 5): TOO_LARGE}, BrokerUnsuitable, "offsets: MessageTooLarge"),
    ],
)
def test_what_a_refusal_means(places, kind, words):
    """A fault of records, or of the set-up."""
    failure = refusal_of(places, ["posts"], ["letters"])

    assert kind is type(failure)
    assert words in str(failure)
    if kind is RecordsRefused:
        assert {place for place in places if place[0] == "posts"} == failure.places


def test_a_sentence_for_each():
    """It names the post, the topic, Kafka's words and the setting."""
    said = sentence(b"7", "posts", OUT_OF_TIME, "Timestamp 5 is out of range.")

    assert said.startswith(
        "Kafka refuses the post 7 for the topic posts: InvalidTimestamp: Timestamp 5 is out of range;"
    )
    assert "InvalidTimestamp; check" in sentence(b"7", "posts", OUT_OF_TIME, "")


def test_no_request_for_metadata_makes_a_topic():
    """Kafka makes what a client asks for that does not say otherwise."""
    built = metadata_of(["posts"]).build(MetadataRequest_v5)

    assert (["posts"], False) == (built.topics, built.allow_auto_topic_creation)
