"""What becomes of X's answers about posts of the topic, and what X is asked next."""

import asyncio
import time

import pytest

from connector.compliance.rechecks import FOUND, UNCLEAR, Handover, line_of
from connector.coverage.progress import Progress
from connector.records.record import Arrival, Connected, Limits, TopicRecord, held_bytes
from connector.records.snowflake import first_id
from connector.task import rechecks
from connector.task.partition import progress_settings
from connector.task.rechecks import Rechecks
from connector.task.settings import Subscription
from connector.task.withdrawals import Recheck, WithdrawalSettings
from connector.telemetry.events.task import ComplianceReceived, PostsWithdrawn
from tests.unit.fakes import TASK, WISHES, Destination
from tests.unit.task.test_withdrawals import MemoryPosts, record

HOUR_MS = 3_600_000
NOW_MS = int(time.time() * 1000)
OLD = [first_id(NOW_MS - 5 * HOUR_MS) + number for number in range(300)]
YOUNG = first_id(NOW_MS - 1_000)


def arrival(*answers):
    lines = tuple(line_of(*answer) for answer in answers)
    return Arrival(lines=lines, at=time.time(), size=held_bytes(lines))


@pytest.fixture
def make():
    made = []

    async def make_one(posts):
        recheck = Recheck(age_ms=HOUR_MS, handover=Handover())
        settings = WithdrawalSettings(
            action="tombstone", window_ms=24 * HOUR_MS, remember_ms=HOUR_MS, posts=posts, recheck=recheck
        )
        one = Rechecks(settings, recheck, task=TASK, dead_letters=False)
        one.limit(Limits(record_bytes=10_000, dead_letter_bytes=10_000))
        await one.load()
        made.append((one, asyncio.create_task(one.follow(lambda: None))))
        async with asyncio.timeout(5):
            await posts.over.wait()
        return one

    yield make_one
    for one, run in made:
        one.stop()
        run.cancel()
        one.close()


def asked(one):
    return one._recheck.handover.next(None, 0, over=lambda: False)


async def test_posts_of_an_age_are_asked_a_hundred_at_once(make):
    """The oldest first, each once, and none that is younger; what X has is billed and not delivered again."""
    one = await make(MemoryPosts([record(YOUNG), *map(record, OLD[:150])]))
    first = asked(one)
    assert tuple(OLD[:100]) == first

    result = one.convert([arrival(*((post, FOUND) for post in first))])
    assert (0, list(first), []) == (len(result.records), result.bought, result.ids)
    second = asked(one)
    assert tuple(OLD[100:150]) == second
    one.convert([arrival(*((post, FOUND) for post in second))])
    assert () == asked(one)  # nor are these, by another connection


async def test_what_is_gone_gets_its_tombstone_once(make):
    """Under the post's key, with X's reason; an answer that comes twice changes nothing."""
    one = await make(MemoryPosts([record(post) for post in OLD[:3]]))
    answers = arrival((OLD[0], "resource-not-found"), (OLD[1], FOUND), (OLD[2], "not-authorized-for-resource"))

    result = one.convert([answers])
    assert [str(OLD[0]).encode(), str(OLD[2]).encode()] == result.records.keys
    assert (("compliance", b"resource-not-found"),) == next(iter(result.records)).altered.headers
    assert 0 == len(one.convert([answers]).records)
    told = [event.kinds for event in one.take_events() if isinstance(event, ComplianceReceived | PostsWithdrawn)]
    assert (("found", 2), ("not-authorized-for-resource", 2), ("resource-not-found", 2)) == told[0]
    assert (("not-authorized-for-resource", 1), ("resource-not-found", 1)) == told[1]


async def test_what_is_not_clear_is_never_taken_for_gone(make, monkeypatch):
    """It is asked again later; meanwhile the others are."""
    one = await make(MemoryPosts([record(post) for post in OLD[:101]]))
    first = asked(one)
    result = one.convert([arrival(*((post, UNCLEAR) for post in first))])

    assert (0, []) == (len(result.records), result.bought)
    assert (OLD[100],) == asked(one)
    later = time.monotonic() + rechecks.LATER_SECS + 1
    monkeypatch.setattr(rechecks.time, "monotonic", lambda: later)
    one.convert([arrival((OLD[100], FOUND))])
    assert first == asked(one)


async def test_many_that_are_not_clear_stop_the_rest(make, monkeypatch):
    """X has a problem: no more is asked before some of them are asked again."""
    monkeypatch.setattr(rechecks, "LATER_MAX", 100)
    one = await make(MemoryPosts([record(post) for post in OLD[:150]]))
    first = asked(one)
    one.convert([arrival(*((post, UNCLEAR) for post in first))])

    assert () == asked(one)


async def test_no_more_are_asked_than_the_budget_has(make):
    """What was just bought counts, also before it is billed; with a new budget it goes on."""
    left = [150]
    one = await make(MemoryPosts([record(post) for post in OLD]))
    one.spend_within(lambda: left[0])
    first = asked(one)
    one.convert([arrival(*((post, FOUND) for post in first))])
    assert tuple(OLD[100:150]) == asked(one)

    left[0] = 50
    one.convert([arrival(*((post, FOUND) for post in asked(one)))])
    assert () == asked(one)
    left[0] = 20
    one.convert([])
    assert tuple(OLD[150:170]) == asked(one)


async def test_the_next_owner_asks_what_is_not_written_down(make):
    """Nothing that was asked is asked again once it is in Kafka; what was under way is."""
    first = await make(MemoryPosts([record(post, offset=at) for at, post in enumerate(OLD[:4])]))
    first.convert([arrival((OLD[0], FOUND), (OLD[1], "resource-not-found"), (OLD[2], UNCLEAR))])
    kept = first.news(at_once=True)
    assert kept
    second = await make(MemoryPosts([], kept=kept))

    assert (OLD[2], OLD[3]) == asked(second)


async def test_a_late_post_is_asked_too(make):
    """Its id is smaller than that of posts that were asked long ago; a post that is withdrawn already is not."""
    posts = MemoryPosts([record(OLD[5])])
    one = await make(posts)
    one.convert([arrival((OLD[5], FOUND))])
    posts.over.clear()
    posts.batches.append([record(OLD[2]), record(OLD[3]), TopicRecord(0, 9, str(OLD[3]).encode(), None)])
    await asyncio.sleep(0.1)

    assert (OLD[2],) == asked(one)


def test_what_is_found_is_billed_and_nothing_is_missed():
    """A post counts once a day; a connection after hours without one opens no gap, and the time is covered."""
    recheck = Recheck(age_ms=HOUR_MS, handover=Handover())
    settings = WithdrawalSettings(
        action="tombstone", window_ms=HOUR_MS, remember_ms=HOUR_MS, posts=MemoryPosts(), recheck=recheck
    )
    more = {"task": TASK, "destination": Destination(connector="posts", topic="posts"), "withdrawals": settings}
    wish = Subscription(finder=None, on_status=lambda _: None, **{**WISHES, **more, "metered": True})
    events = []
    progress = Progress({"stream": "recheck"}, progress_settings(wish, tuple), emit=events.append, kept={}, run="run")
    at = time.time() - 7_200
    progress.on_connected(Connected(at=at, skew_secs=0.0))
    progress.on_connected(Connected(at=at + 7_200, skew_secs=0.0, after="connection_lost"))

    assert ([], ()) == (events, progress.coverage.gaps)
    assert progress.coverage.covered_to_ms >= int((at + 7_200) * 1000)
    converted = rechecks.Converted(bought=[OLD[0], OLD[1]], newest_id=YOUNG)
    progress.take([arrival((OLD[0], FOUND), (OLD[1], FOUND))], converted)
    progress.take([arrival((OLD[0], FOUND))], rechecks.Converted(bought=[OLD[0]], newest_id=YOUNG))
    assert (2, 2) == (progress.coverage.spent.posts, progress.take_billed())
