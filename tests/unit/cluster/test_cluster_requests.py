import asyncio
from dataclasses import replace
from types import SimpleNamespace

import orjson
import pytest
from aiokafka.errors import KafkaConnectionError, UnknownError
from faust.exceptions import NotReady, ProducerSendError

from connector.cluster import requests
from connector.cluster.requests import Action, GapRequest, GapRequests
from connector.errors import BrokerAway, DeliveryFailed
from tests.unit.fakes import MADE_MS

RETRY = GapRequest(connector="posts", partition=None, from_ms=MADE_MS, action=Action.RETRY, at_ms=MADE_MS + 3_600_000)
THIRD = replace(RETRY, partition="3", action=Action.ACCEPT)
KEY, THIRD_KEY = b"gap-posts-1793536496789-", b"gap-posts-1793536496789-3"


class FakeProducer:
    """Faust's producer over a topic that *readers* follow."""

    def __init__(self, *readers):
        self.readers, self.sent, self.fail, self.refuse, self.silent = readers, [], None, None, False

    async def send(self, topic, key, value, *_):
        if self.fail:
            raise self.fail
        ack = asyncio.get_running_loop().create_future()
        if self.refuse:
            ack.set_exception(self.refuse)
        elif not self.silent:
            ack.set_result(None)
            self.sent.append((topic, key, value))
            for reader in self.readers:
                reader.apply(key, value)
        return ack


def gap_requests(producer=None):
    return GapRequests(SimpleNamespace(producer=producer), "connector-configs")


def group(size=2):
    """What several workers know, and the producer of all of them."""
    producer = FakeProducer()
    members = [gap_requests(producer) for _ in range(size)]
    producer.readers = members
    return producer, *members


async def test_every_worker_hears_of_it():
    """A request is known to the whole group, by connector and partition, in the published words."""
    producer, asking, owner = group()
    await asking.send(RETRY)
    await asking.send(THIRD)

    assert [RETRY] == owner.pending("posts", None) == asking.pending("posts", None)
    assert [THIRD] == owner.pending("posts", "3")
    assert [] == owner.pending("other", None) == owner.pending("posts", "4")
    assert [("connector-configs", KEY), ("connector-configs", THIRD_KEY)] == [sent[:2] for sent in producer.sent]
    assert [
        {
            "connector": "posts",
            "partition": None,
            "from": "2026-11-01T12:34:56.789Z",
            "action": "retry",
            "at": "2026-11-01T13:34:56.789Z",
        },
        {
            "connector": "posts",
            "partition": "3",
            "from": "2026-11-01T12:34:56.789Z",
            "action": "accept",
            "at": "2026-11-01T13:34:56.789Z",
        },
    ] == [orjson.loads(sent[2]) for sent in producer.sent]


async def test_oldest_first():
    """Requests are carried out in the order in which they were asked."""
    _, asking, owner = group()
    later, sooner = replace(RETRY, from_ms=MADE_MS - 5, at_ms=MADE_MS + 9), replace(RETRY, at_ms=MADE_MS + 8)
    await asking.send(later)
    await asking.send(sooner)

    assert [sooner, later] == owner.pending("posts", None)


async def test_done():
    """What was carried out is pending nowhere, and a tombstone says so."""
    producer, asking, owner = group()
    await asking.send(RETRY)
    await owner.done(RETRY)

    assert [] == owner.pending("posts", None) == asking.pending("posts", None)
    assert ("connector-configs", KEY, None) == producer.sent[-1]


async def test_done_is_done_here_at_once():
    """The owner does not carry out a request twice, though its topic is followed anew, or Kafka is away now."""
    producer, asking, owner = group()
    await asking.send(RETRY)
    told = producer.sent[-1][1:]
    producer.fail = KafkaConnectionError("no broker")
    with pytest.raises(BrokerAway):
        await owner.done(RETRY)
    owner.apply(*told)
    assert [] == owner.pending("posts", None)
    assert [RETRY] == asking.pending("posts", None)
    producer.fail = None
    await owner.done(RETRY)
    assert [] == asking.pending("posts", None)


async def test_asked_again():
    """A gap may be retried again; the tombstone of the first request does not remove the second one."""
    _, asking, owner = group()
    again = replace(RETRY, at_ms=RETRY.at_ms + 1)
    await asking.send(RETRY)
    await asking.send(again)
    await owner.done(RETRY)
    assert [again] == owner.pending("posts", None)
    await owner.done(again)
    assert [] == owner.pending("posts", None)
    await asking.send(replace(RETRY, at_ms=RETRY.at_ms + 2))
    assert 1 == len(owner.pending("posts", None))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (KafkaConnectionError("no broker"), BrokerAway),
        (ProducerSendError("Error while sending"), DeliveryFailed),
        (NotReady("producer"), DeliveryFailed),
        (OSError("unreachable"), BrokerAway),
    ],
)
async def test_kafka_away(error, kind):
    """Whoever asks hears that Kafka does not take it."""
    producer, asking = group(1)
    producer.fail = error
    with pytest.raises(kind) as caught:
        await asking.send(RETRY)

    assert kind is type(caught.value)


async def test_faust_hides_what_kafka_said():
    """The class of an error that Faust wraps is that of Kafka's own."""
    producer, asking = group(1)
    producer.fail = ProducerSendError("Error while sending")
    producer.fail.__cause__ = KafkaConnectionError("no broker")
    with pytest.raises(BrokerAway, match="no broker"):
        await asking.send(RETRY)


async def test_not_acknowledged(monkeypatch):
    """What is not acknowledged is an error: refused, or no answer in time."""
    monkeypatch.setattr(requests, "PUBLISH_TIMEOUT_SECS", 0.01)
    producer, asking = group(1)
    producer.silent = True
    with pytest.raises(BrokerAway):
        await asking.send(RETRY)
    producer.refuse = UnknownError("no")
    with pytest.raises(DeliveryFailed, match="UnknownError"):
        await asking.send(RETRY)

    assert [] == asking.pending("posts", None)


GOOD = {"connector": "posts", "partition": None, "from": "2026-11-01T12:34:56.789Z", "action": "retry"} | {
    "at": "2026-11-01T13:34:56.789Z"
}
STRANGE = [
    (KEY, b"garbage"),
    (KEY, b"[]"),
    (KEY, b"7"),
    (KEY, orjson.dumps(GOOD | {"action": "dance"})),
    (KEY, orjson.dumps(GOOD | {"from": "yesterday"})),
    (KEY, orjson.dumps(GOOD | {"at": None})),
    # a tombstone of its own key would not remove it
    (b"gap-posts-1-", orjson.dumps(GOOD)),
    (b"connector-posts", orjson.dumps(GOOD)),
]


@pytest.mark.parametrize(("key", "value"), STRANGE)
def test_strange_record(key, value, caplog):
    """A record that is no request is told once, and changes nothing else."""
    mine = gap_requests()
    mine.apply(THIRD_KEY, orjson.dumps(GOOD | {"partition": "3"}))
    for _ in range(2):
        mine.apply(key, value)
    mine.apply(b"gap-unknown", None)

    assert [] == mine.pending("posts", None)
    assert [replace(THIRD, action=Action.RETRY)] == mine.pending("posts", "3")
    assert [f"A record of connector-configs is no request: key {key!r}"] == caplog.messages


async def test_what_is_remembered_is_bounded(monkeypatch):
    """Of carried-out requests the newest are remembered, of strange records some are told."""
    monkeypatch.setattr(requests, "MAX_DONE", 10)
    monkeypatch.setattr(requests, "MAX_STRANGE", 10)
    producer, owner = group(1)
    for number in range(100):
        one = replace(RETRY, from_ms=MADE_MS + number)
        await owner.send(one)
        await owner.done(one)
        await owner.done(one)
        owner.apply(b"strange-%d" % number, b"{}")
    told = [sent[1:] for sent in producer.sent if sent[2] is not None]
    for key, value in told[-10:]:
        owner.apply(key, value)

    assert [] == owner.pending("posts", None)
    assert (10, 10) == (len(owner._done), len(owner._strange))
