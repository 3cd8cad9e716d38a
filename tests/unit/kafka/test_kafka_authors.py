"""The topic of the posts is read on when the client stops to fetch, be it a single partition."""

import contextlib
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition

from connector.kafka.state import authors
from connector.kafka.state.authors import AuthorsTopic

BUSY, MUTE = TopicPartition("posts", 0), TopicPartition("posts", 1)


class Client:
    """Brings a record of one partition at each poll, and none of the other, which has *waiting* records."""

    def __init__(self, waiting, coming=0):
        self.waiting, self.coming, self.places = waiting, coming, {}

    async def start(self):
        pass

    async def stop(self):
        pass

    close = stop

    def assign(self, partitions):
        self.places = dict.fromkeys(partitions, 0)

    def seek(self, partition, offset):
        self.places[partition] = offset

    async def position(self, partition):
        return self.places[partition]

    async def offsets_for_times(self, times):
        self.waiting += self.coming  # a record comes meanwhile
        return dict.fromkeys(times)

    async def end_offsets(self, partitions):
        ends = {BUSY: 1_000, MUTE: self.waiting}
        return {each: ends[each] for each in partitions}

    async def getmany(self, *partitions, **_):
        self.places[BUSY] += 1
        return {BUSY: [SimpleNamespace(partition=0, offset=self.places[BUSY] - 1, key=b"1", value=b"{}")]}


def topic_of(client, monkeypatch):
    monkeypatch.setattr(authors, "AIOKafkaConsumer", lambda **_: client)
    monkeypatch.setattr(authors, "AIOKafkaAdminClient", lambda **_: client)
    monkeypatch.setattr(authors, "LOOK_SECS", 0.0)
    cluster = SimpleNamespace(options=dict, user=None)
    topic = AuthorsTopic(cluster, "g-authors", "erasure", "posts", trust_end_offsets=lambda: True)

    async def partitions(_):
        return [BUSY, MUTE]

    monkeypatch.setattr(topic, "_partitions", partitions)
    return topic


async def test_a_record_that_comes_while_the_reading_begins_is_read(monkeypatch):
    """Where no record is young enough the reading begins at the end: as it was before that was asked."""
    client = Client(7, coming=1)
    topic = topic_of(client, monkeypatch)
    async with contextlib.aclosing(topic.follow({0: 0}, 0)) as following:
        await anext(following)

    assert 7 == client.places[MUTE]


@pytest.mark.parametrize(("waiting", "ends"), [(7, True), (0, False)])
async def test_a_partition_that_is_not_fetched_any_more_is_noticed(monkeypatch, waiting, ends):
    """The others bring records meanwhile; a partition that has none waiting is just quiet."""
    topic = topic_of(Client(waiting), monkeypatch)
    batches = 0
    async with contextlib.aclosing(topic.follow({0: 0, 1: 0}, 0)) as following:
        async for batch in following:
            assert 0 == batch[0].partition
            batches += 1
            if batches == 20:
                break
    assert ends == (batches < 20)
