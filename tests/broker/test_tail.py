"""The command `tail` on a real broker, as a process: what it prints, and how it ends."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from connector.cli.tail.command import Tail, read_request
from connector.kafka.brokers import KafkaCluster
from connector.kafka.state.read_topic import TopicReader
from connector.records.snowflake import first_id, to_iso
from tests import topics
from tests.brokers import Broker

pytestmark = pytest.mark.broker

BEGIN_MS = int(time.time() * 1000) - 3_600_000
MINUTE_MS = 60_000


def line(number, tag):
    post_id = str(first_id(BEGIN_MS + number * MINUTE_MS))
    return {"data": {"id": post_id, "text": f"post {number}"}, "matching_rules": [{"id": "1", "tag": f"posts/{tag}"}]}


@pytest.fixture
async def topic(broker: Broker, fresh: str) -> str:
    """A topic of three partitions with forty posts, one each minute, in transactions of one; and one aborted post."""
    await topics.create(broker, fresh, partitions=3)
    async with AIOKafkaProducer(bootstrap_servers=broker.address, transactional_id=fresh) as producer:
        for number in range(40):
            post = line(number, "rare" if number in {3, 5} else "birds")
            async with producer.transaction():
                await _send(producer, fresh, post, number)
        await producer.begin_transaction()
        await _send(producer, fresh, line(99, "birds"), 41)
        await producer.abort_transaction()
    return fresh


async def _send(producer, topic, post, number):
    at_ms = BEGIN_MS + number * MINUTE_MS
    await producer.send_and_wait(
        topic, json.dumps(post).encode(), key=post["data"]["id"].encode(), timestamp_ms=at_ms, partition=number % 3
    )


@pytest.fixture
def start(broker, topic, tmp_path):
    """Start the command as a process."""
    environ = {
        **os.environ,
        "CONNECTOR_BROKER_URL": broker.url,
        "CONNECTOR_TOPIC": topic,
        "CONNECTOR_HASHTAGS": "birds",
        "CONNECTOR_X_BEARER_TOKEN": "t",
    }

    def start_one(*args, **more):
        command = [sys.executable, "-m", "connector", "tail", *args]
        return subprocess.Popen(  # noqa: S603  # our own command
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environ, **more},
            cwd=tmp_path,
        )

    return start_one


@pytest.fixture
def printed(broker, topic, capfd):
    """What the command prints, in this process."""

    async def print_(**options):
        values = {"topic": topic, "rules": (), "from_": None, "posts": None, "follow": False, "json_": False, **options}
        request = read_request(values, None, now_ms=int(time.time() * 1000))
        await Tail(KafkaCluster(servers=(broker.address,)), topic, request).run()
        return capfd.readouterr().out.splitlines()

    return print_


async def test_tail_prints_committed_posts(printed) -> None:
    """The last ones, from a time, or all; by rule; in the order of their time, over all partitions."""

    async def numbers(**options):
        lines = await printed(json_=True, **options)
        return [int(json.loads(text)["data"]["text"].split()[1]) for text in lines]

    assert [37, 38, 39] == await numbers(posts=3)
    assert [3, 5] == await numbers(posts=5, rules=["rare"])
    assert [*range(40)] == sorted(await numbers(from_="beginning"))
    assert [*range(36, 40)] == sorted(await numbers(from_=to_iso(BEGIN_MS + 35 * MINUTE_MS + 1)))
    assert 4 == len(await numbers(from_="beginning", posts=4))
    assert [to_iso(BEGIN_MS + 39 * MINUTE_MS) + " [birds]  -  post 39"] == await printed(posts=1)


async def test_a_broker_whose_end_offsets_say_nothing_is_read_whole(broker, topic, capfd) -> None:
    """As the embedded one's: the end is where nothing more comes, and the beginning is sought by the time."""
    cluster = KafkaCluster(servers=(broker.address,))
    async with TopicReader(cluster, topic, [0, 1, 2], trust_end_offsets=False) as reader:
        assert not await reader.begin_before_end(1)
        assert 40 == len([record async for records in reader.to_end() for record in records])
        await reader.begin_at(BEGIN_MS + 38 * MINUTE_MS)
        assert 2 == len([record async for records in reader.to_end() for record in records])


async def test_a_busy_topic_has_an_end_also_where_end_offsets_say_nothing(broker, topic) -> None:
    """It is where records are younger than the reading, as no pause will come."""

    async def keep_busy():
        async with AIOKafkaProducer(bootstrap_servers=broker.address) as producer:
            for number in itertools.count():
                await producer.send_and_wait(topic, b"{}", partition=number % 3)
                await asyncio.sleep(0.05)

    busy = asyncio.create_task(keep_busy())
    async with TopicReader(
        KafkaCluster(servers=(broker.address,)), topic, [0, 1, 2], trust_end_offsets=False
    ) as reader:
        await reader.begin_at(0)
        async with asyncio.timeout(30):
            read = [record async for records in reader.to_end() for record in records]
    busy.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await busy

    assert 40 == sum(record.key is not None for record in read)


async def test_followed_posts_are_printed_until_it_is_interrupted(start, broker, topic) -> None:
    """Ctrl-C is how a follower ends, so that is no error."""
    process = start("--follow", "-n", "1", "--json")
    assert "post 39" in process.stdout.readline()
    async with AIOKafkaProducer(bootstrap_servers=broker.address) as producer:
        await _send(producer, topic, line(50, "birds"), 50)
    assert "post 50" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)

    assert (0, "", "") == (process.returncode, out, err)


def test_a_closed_pipe_ends_it_quietly(start) -> None:
    """Also while nothing new comes."""
    process = start("--follow", "-n", "1")
    process.stdout.readline()
    process.stdout.close()

    assert 0 == process.wait(30)
    assert "" == process.stderr.read()
    process.stderr.close()


async def test_what_is_wrong_is_told(start, broker, topic) -> None:
    """In a sentence each; no topic is made by asking."""
    unknown = start("--topic", f"{topic}-none")
    away = start(CONNECTOR_BROKER_URL="kafka://127.0.0.1:1")

    for process, words in ((unknown, f"there is no topic {topic}-none"), (away, "Nothing listens at 127.0.0.1:1")):
        out, err = process.communicate(timeout=60)
        assert ("", 69, 1) == (out, process.returncode, err.count("\n"))
        assert words in err
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    assert f"{topic}-none" not in await admin.list_topics()
    await admin.close()
