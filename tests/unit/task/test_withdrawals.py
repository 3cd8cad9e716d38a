"""What becomes of X's compliance events."""

import asyncio
import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from connector.compliance.memory import Memory
from connector.coverage.offset import Coverage
from connector.coverage.progress import Progress
from connector.errors import BrokerAway, FatalError
from connector.formats.schemas.form import SchemaForm, writer_of
from connector.formats.schemas.wire import head
from connector.records.record import Arrival, Limits, TopicRecord, held_bytes
from connector.records.snowflake import first_id, to_iso
from connector.task import batcher
from connector.task.batcher import Batcher, BatcherSettings
from connector.task.buffer import Buffer
from connector.task.partition import Partition, progress_settings
from connector.task.settings import Subscription
from connector.task.subscriber import Subscriber
from connector.task.withdrawals import Withdrawals, WithdrawalSettings
from connector.telemetry.events.task import (
    AuthorMissing,
    ComplianceReceived,
    ComplianceUnknown,
    PostsNotFollowed,
    PostsWithdrawn,
    PostsWithoutAuthor,
)
from tests.unit.fakes import TASK, WISHES, Destination, MemoryKafka, MemorySink

HOUR_MS = 3_600_000
NOW_MS = int(time.time() * 1000)
POST = first_id(NOW_MS - 1_000)


class MemoryPosts:
    """A topic as a list of batches, or errors; and what the last owner has written."""

    def __init__(self, *batches, kept=()):
        self.batches, self.written, self.begun = list(batches), list(kept), []
        self.over = asyncio.Event()

    async def kept(self):
        for value in self.written:
            yield value

    async def follow(self, read_to, from_ms):
        self.begun.append(read_to)
        while self.batches:
            batch = self.batches.pop(0)
            if isinstance(batch, Exception):
                raise batch
            yield batch
        self.over.set()
        while True:
            await asyncio.sleep(0.01)
            yield self.batches.pop(0) if self.batches else ()


def record(post, author=5, *, offset=0, partition=0, **data):
    value = json.dumps({"data": {"id": str(post), "author_id": str(author), **data}}).encode()
    return TopicRecord(partition, offset, str(post).encode(), value)


def line(kind, *, at_ms=NOW_MS, user=None, post=None, **more):
    about = {"tweet": {"id": str(post)}} if user is None else {"user": {"id": str(user)}}
    return json.dumps({"data": {kind: {**about, "event_at": to_iso(at_ms), **more}}}).encode()


def arrival(*lines):
    return Arrival(lines=lines, at=time.time(), size=held_bytes(lines))


@pytest.fixture
def make():
    made = []

    async def make_one(posts, *, action="tombstone", dead_letters=False, read=True):
        settings = WithdrawalSettings(action=action, window_ms=24 * HOUR_MS, remember_ms=HOUR_MS, posts=posts)
        withdrawals = Withdrawals(settings, task=TASK, dead_letters=dead_letters)
        withdrawals.limit(Limits(record_bytes=10_000, dead_letter_bytes=10_000))
        await withdrawals.load()
        run = asyncio.create_task(withdrawals.follow(lambda: None))
        made.append((withdrawals, run))
        if read and action == "tombstone":
            async with asyncio.timeout(5):
                await posts.over.wait()
        return withdrawals

    yield make_one
    for withdrawals, run in made:
        withdrawals.stop()
        run.cancel()
        withdrawals.close()


def told(withdrawals, kind):
    return [event for event in withdrawals.take_events() if isinstance(event, kind)]


async def test_a_deletion_is_a_tombstone_under_the_key_of_its_post(make):
    """It has no value, says why in a header, and has the time of the event."""
    withdrawals = await make(MemoryPosts([record(POST)]))

    (tombstone,) = withdrawals.convert([arrival(line("delete", post=POST))]).records

    assert (str(POST).encode(), b"", NOW_MS) == tombstone[:3]
    assert tombstone.altered.tombstone
    assert (("compliance", b"delete"),) == tombstone.altered.headers
    assert None is tombstone.altered.topic


async def test_a_post_that_is_not_there_gets_none_until_it_comes(make):
    """X tells all that is deleted anywhere; a tombstone comes after its post, and not before."""
    posts = MemoryPosts()
    withdrawals = await make(posts, read=False)
    result = withdrawals.convert([arrival(line("delete", post=POST))])
    assert 0 == len(result.records)
    assert 1 == len(result.ids)
    posts.batches.append([record(POST)])
    async with asyncio.timeout(5):
        await posts.over.wait()
    due = withdrawals.due()

    assert [str(POST).encode()] == due.records.keys
    assert {"delete": 1, "late": 1} == {
        kind: count for event in told(withdrawals, ComplianceReceived | PostsWithdrawn) for kind, count in event.kinds
    }


@pytest.mark.parametrize("kind", ["user_delete", "user_protect", "user_suspend", "user_withheld"])
async def test_an_event_of_a_user_withdraws_the_users_posts(make, kind):
    """All in the topic; the posts of others stay."""
    withdrawals = await make(MemoryPosts([record(POST), record(POST + 1, author=6), record(POST + 2)]))

    records = withdrawals.convert([arrival(line(kind, user=5))]).records

    assert [str(POST).encode(), str(POST + 2).encode()] == records.keys


async def test_kinds_that_withdraw_nothing(make):
    """What restores, what changes a profile, what is withheld nowhere, what is not known."""
    withdrawals = await make(MemoryPosts([record(POST)]))
    lines = [
        line("undrop", post=POST),
        line("user_unsuspend", user=5),
        line("user_profile_modification", user=5),
        line("withheld", post=POST, withheld_in_countries=[]),
        line("post_hidden", post=POST),
        line("scrub_geo", user=5),
    ]

    assert 0 == len(withdrawals.convert([arrival(*lines)]).records)
    events = withdrawals.take_events()
    assert ["post_hidden"] == [event.kind for event in events if isinstance(event, ComplianceUnknown)]


async def test_an_edit_withdraws_the_older_version(make):
    """The new one is a post of its own."""
    withdrawals = await make(MemoryPosts([record(POST), record(POST + 1)]))
    edit = line("tweet_edit", post=POST + 1, edit_tweet_ids=[str(POST), str(POST + 1)])

    assert [str(POST).encode()] == withdrawals.convert([arrival(edit)]).records.keys


async def test_scrubbed_locations(make):
    """Posts with a location go, as it is in their value; the others stay."""
    posts = [record(POST, geo={"place_id": "1"}), record(POST + 1, geo={}), record(POST + 2)]
    withdrawals = await make(MemoryPosts(posts))

    assert [str(POST).encode()] == withdrawals.convert([arrival(line("scrub_geo", user=5))]).records.keys


async def test_events_that_come_again(make):
    """A repeated deletion changes nothing; its id counts as known, also for the next owner."""
    withdrawals = await make(MemoryPosts([record(POST)]))
    first = withdrawals.convert([arrival(line("delete", post=POST))])
    second = withdrawals.convert([arrival(line("delete", post=POST))])

    assert (1, 1, 0) == (len(first.records), len(first.ids), len(first.again))
    assert (0, 0, first.ids) == (len(second.records), len(second.ids), second.again)


async def test_records_of_events(make):
    """The line as X sent it, each once; a user's under a key that no post has.  The topic is not read."""
    posts = MemoryPosts()
    withdrawals = await make(posts, action="event")
    lines = (line("delete", post=POST), line("user_delete", user=5), line("delete", post=POST))

    records = withdrawals.convert([arrival(*lines)]).records

    assert [str(POST).encode(), b"user-5"] == records.keys
    assert [*lines[:2]] == records.values
    assert [] == posts.begun
    assert () == withdrawals.news(at_once=True)


async def test_two_events_with_the_same_id_are_both_delivered(make, monkeypatch):
    """The id is a hash; what is told apart by its whole text is not lost."""
    monkeypatch.setattr("connector.task.withdrawals.zlib.crc32", lambda _: 1 << 20)
    withdrawals = await make(MemoryPosts(), action="event")

    assert 2 == len(withdrawals.convert([arrival(line("delete", post=1), line("delete", post=2))]).records)


async def test_none_only_counts(make):
    """Nothing is written."""
    withdrawals = await make(MemoryPosts(), action="none")

    result = withdrawals.convert([arrival(line("delete", post=POST))])
    assert (0, 1) == (len(result.records), len(result.ids))
    assert 1 == len(told(withdrawals, ComplianceReceived))


async def test_bad_lines(make):
    """They end the connector, or become dead letters; what was read before stays."""
    strict = await make(MemoryPosts([record(POST)]))
    result = strict.convert([arrival(line("delete", post=POST), b"{}", line("delete", post=POST + 1))])
    assert (1, 1) == (len(result.records), len(result.ids))
    assert "is no compliance event" in str(result.error)

    lenient = await make(MemoryPosts(), dead_letters=True)
    result = lenient.convert([arrival(b"{}", line("delete", post=POST))])
    assert (1, 1, None) == (len(result.dead_letters), len(result.ids), result.error)


async def test_the_next_owner_goes_on(make):
    """It knows the topic without reading it again, what was withdrawn, and what is gone already."""
    first = await make(MemoryPosts([record(POST, offset=4), record(POST + 1, offset=5)]))
    first.convert([arrival(line("delete", post=POST), line("delete", post=POST + 7))])
    posts = MemoryPosts([record(POST + 7, offset=6)], kept=first.news(at_once=True))
    second = await make(posts)

    assert [{0: 6}] == posts.begun
    assert [str(POST + 7).encode()] == second.due().records.keys
    assert [str(POST + 1).encode()] == second.convert([arrival(line("user_delete", user=5))]).records.keys


async def test_news_wait_a_second_if_nothing_is_withdrawn(make):
    """Who wrote what can be read again; events are written with their offset."""
    withdrawals = await make(MemoryPosts([record(POST)]))
    assert () == withdrawals.news(at_once=False)
    assert 1 == len(withdrawals.news(at_once=True))


async def test_a_topic_that_cannot_be_read_is_told_and_tried_again(make, monkeypatch):
    """From the place that was reached."""
    monkeypatch.setattr("connector.task.withdrawals.RETRY_SECS", 0.01)
    posts = MemoryPosts([record(POST, offset=8)], BrokerAway("away"), [record(POST + 1, offset=9)])
    withdrawals = await make(posts)

    assert [{}, {0: 9}] == posts.begun
    assert ["away"] == [event.reason for event in told(withdrawals, PostsNotFollowed)]


async def test_records_of_authors_that_cannot_be_read(make):
    """The task fails, with what to do."""
    with pytest.raises(FatalError, match="delete its records"):
        await make(MemoryPosts(kept=[b"nonsense"]))


async def test_posts_without_an_author_are_counted_and_told_once(make):
    """By the reason, with the place of the first one; a deletion of the post itself is followed all the same."""
    values = [b'{"data":{"id":"1"}}', b"\0\0\0\0\1binary", b"text", b'{"id":"1"}']
    read = [TopicRecord(3, 7 + at, b"%d" % (POST + at), value) for at, value in enumerate(values)]
    withdrawals = await make(MemoryPosts([*read, record(POST + 9)]))

    events = withdrawals.take_events()
    assert [(3, 7), (3, 8)] == [(each.partition, each.offset) for each in events if isinstance(each, AuthorMissing)]
    (counted,) = (each for each in events if isinstance(each, PostsWithoutAuthor))
    assert (("no_author", 2), ("no_format", 2)) == counted.lacks
    assert [] == withdrawals.take_events()
    assert 1 == len(withdrawals.convert([arrival(line("delete", post=POST + 1))]).records)


@pytest.mark.parametrize("value_format", ["avro", "json_schema", "protobuf"])
async def test_events_of_users_find_posts_with_a_schema(make, value_format):
    """Whichever format the topic has; the posts of others stay."""
    values = [with_schema(value_format, post, author) for post, author in ((POST, 5), (POST + 1, 6), (POST + 2, 5))]
    read = [TopicRecord(0, at, b"%d" % (POST + at), value) for at, value in enumerate(values)]
    withdrawals = await make(MemoryPosts(read))

    records = withdrawals.convert([arrival(line("user_suspend", user=5))]).records
    assert [str(POST).encode(), str(POST + 2).encode()] == records.keys
    assert [] == told(withdrawals, PostsWithoutAuthor | AuthorMissing)


def with_schema(value_format, post, author):
    """The value of a post of *author* as a connector writes it."""
    form = SchemaForm(writer := writer_of(value_format), lambda value: value)
    data = {"id": str(post), "author_id": str(author), "text": "a starling", "created_at": "2026-01-02T03:04:05Z"}
    body = form.write(form.shape(json.dumps({"data": data}).encode()))
    return head(7, writer.after_id) + body


@pytest.mark.slow
def test_who_withdraws_nothing_does_not_load_it():
    """A worker for posts imports neither the room nor SQLite."""
    code = "import sys, connector.worker.wiring; print([m for m in sys.modules if 'compliance' in m or m == 'sqlite3'])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603

    assert "[]" == found.stdout.strip()


class TwoParts:
    """A batcher of one connector that withdraws, with two source partitions, the second of which has two events."""

    def __init__(self, posts):
        sink = MemorySink(MemoryKafka())
        settings = WithdrawalSettings(action="tombstone", window_ms=24 * HOUR_MS, remember_ms=HOUR_MS, posts=posts)
        wish = Subscription(
            finder=None,
            on_status=lambda _: None,
            **WISHES
            | {"task": TASK, "destination": Destination(connector="posts", topic="posts"), "withdrawals": settings},
        )
        self.subscriber = Subscriber(wish, None, sink)
        for name in ("users-1", "posts-1"):
            progress = Progress(
                {"stream": "compliance", "partition": name},
                progress_settings(wish, tuple),
                emit=lambda _: None,
                kept={},
                run="run",
            )
            nothing = SimpleNamespace(page=None)
            partition = Partition(reader=None, progress=progress, repairer=nothing, joined=False)
            self.subscriber.partitions.append(partition)
            self.subscriber.progresses.append(progress)
        buffers = [Buffer(10**6, lambda: None, full_posts=100) for _ in range(2)]
        for post in (POST + 1, POST + 2):
            buffers[1].put(arrival(line("delete", post=post)))
        self.readers = [SimpleNamespace(buffer=buffer) for buffer in buffers]
        self.batcher = Batcher(
            BatcherSettings(task=TASK, batch_max_records=100, offset_interval_secs=0.0),
            sink,
            in_flight=SimpleNamespace(coverage_of=lambda *_: Coverage()),
            emit=lambda _: None,
            told=lambda: None,
        )

    async def gather(self):
        pending, _ = await self.batcher.gather(self.readers, [self.subscriber], None, prove=False, quiet=False)
        return pending.batch.shares[0]


async def test_what_is_learnt_to_be_gone_has_its_tombstone_in_the_same_batch(monkeypatch):
    """Also of a post that comes to the topic while the batch is made: the next owner would never write it."""
    monkeypatch.setattr(batcher, "POSTS_AT_ONCE", 1)  # so that the topic is read between two events
    posts = MemoryPosts()
    parts = TwoParts(posts)
    withdrawals = parts.subscriber.withdrawals
    await withdrawals.load()
    withdrawals.convert([arrival(line("delete", post=POST))])
    waking = asyncio.Event()
    monkeypatch.setattr(Withdrawals, "_posts", staticmethod(lambda *_: waking.set() or ()))

    async def follow():
        await waking.wait()
        withdrawals._see(withdrawals._memory, record(POST))

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)
    share = await parts.gather()
    await following
    heir = Memory(window_ms=24 * HOUR_MS, remember_ms=HOUR_MS)
    for value in share.authors:
        heir.load(value)
    withdrawals.close()

    assert (0, [str(POST).encode()]) == (heir.posts, list(share.records.keys))
