"""Several connectors on one stream: one connection, one transaction, and each connector by itself."""

import asyncio
import time

import pytest

from connector.coverage.ledger import decode_ids
from connector.coverage.offset import Coverage, Gap, Way
from connector.coverage.spend import Budget
from connector.errors import ConnectionLost, NotAuthorized, RulesRefused, ServiceUnavailable
from connector.records.record import Destination, SourceRecord, TaskId
from connector.records.snowflake import first_id
from connector.task import backoff, ownership, refusal, rule_keeper, subscribers, task
from connector.task.backoff import Schedule
from connector.task.repair.policy import Policy
from connector.task.status import State
from connector.telemetry.events.task import (
    BatchDelivered,
    DuplicatesDropped,
    PostsUnmatched,
    RulesDelayed,
    StreamConnected,
    SubscriberJoined,
    SubscriberLeft,
    TaskFailed,
    TaskPaused,
)
from tests.unit.fakes import (
    CONFIRMED,
    DOUBTFUL,
    KEEP_ALIVE,
    LOST,
    MADE_MS,
    Gate,
    Held,
    MemoryKafka,
    MemorySink,
    SharedSource,
    Sharing,
    id_of,
    post,
    shared_post,
    skew_to,
    until,
)

BAD = b'{"data":{}}'
TWO = {"birds": {}, "cats": {}}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(task, "RESTART_PAUSE_SECS", 0.01)
    monkeypatch.setattr(ownership, "PROOF_POLL_SECS", 0.002)
    monkeypatch.setattr(rule_keeper, "LOOK_SECS", 0.01)
    monkeypatch.setattr(backoff, "CONNECT_WINDOW_SECS", 0.0)
    monkeypatch.setattr("connector.coverage.offset.MARGIN_MS", 0)
    monkeypatch.setitem(backoff.SCHEDULES, ConnectionLost, Schedule(first=0.0, second=0.0, cap=0.0))
    monkeypatch.setitem(backoff.SCHEDULES, ServiceUnavailable, Schedule(first=0.01, second=0.01, cap=0.01))


@pytest.fixture
def kafka():
    return MemoryKafka()


@pytest.fixture
def sink(kafka):
    return MemorySink(kafka)


def numbered(first, *rules):
    return [shared_post(number, *rules) for number in range(first, first + 3)]


# -- who gets what


async def test_each_post_goes_to_all_whose_rules_it_matched(kafka, sink):
    """In one transaction; what matched no rule of theirs goes nowhere, and is counted."""
    lines = (
        shared_post(1, "birds"),
        shared_post(2, "cats"),
        shared_post(3, "birds", "cats"),
        shared_post(4, ("77", "cats/just made")),
        shared_post(5, ("78", "other/rule")),
        shared_post(6, ("79", "")),
    )
    async with Sharing(SharedSource([lines[:5], lines[5:]]), sink, TWO) as running:
        await until(lambda: 3 == len(kafka.of("cats")) and 2 == len(kafka.of("birds")))
        await until(lambda: 2 == sum(event.posts for event in running.said(PostsUnmatched)))

    assert [lines[0], lines[2]] == kafka.of("birds")
    assert [lines[1], lines[2], lines[3]] == kafka.of("cats")
    assert 1 == running.source.connects
    assert {"birds": 2, "cats": 3} == {name: running.offset(name).posts for name in TWO}
    told = {name: sum(e.posts for e in running.said(BatchDelivered) if e.of.connector == name) for name in TWO}
    assert {"birds": 2, "cats": 3} == told


async def test_a_rule_of_two_is_for_both(kafka, sink):
    """X holds a value once, under the tag of one of them."""
    wishes = {"birds": {"wanted": {"#a": "a"}}, "cats": {"wanted": {"#a": "mine", "#b": "b"}}}
    async with Sharing(SharedSource([shared_post(1, "#a"), shared_post(2, "#b")]), sink, wishes):
        await until(lambda: 2 == len(kafka.of("cats")))

    assert [shared_post(1, "#a")] == kafka.of("birds")


class Labels:
    """A transformer that routes nothing, and notes what it knows of rules."""

    around_bytes = 0

    def __init__(self):
        self.known = {}

    def know_rules(self, labels):
        self.known = dict(labels)

    def record_of(self, post_id, line, made_ms, source, max_bytes):
        return SourceRecord(b"%d" % post_id, line, made_ms, source)


async def test_transforms_know_a_rule_by_its_own_label(kafka, sink):
    """Although X holds it under the tag of another connector."""
    labels = {"birds": Labels(), "cats": Labels()}
    wishes = {
        "birds": {"wanted": {"#a": "a"}, "transformer": labels["birds"]},
        "cats": {"wanted": {"#a": "mine", "#b": "b"}, "transformer": labels["cats"]},
    }
    async with Sharing(SharedSource([shared_post(1, "#a"), shared_post(2, "#b")]), sink, wishes):
        await until(lambda: 2 == len(kafka.of("cats")))

    assert ["a"] == list(labels["birds"].known.values())
    assert ["b", "mine"] == sorted(labels["cats"].known.values())
    assert labels["birds"].known.keys() < labels["cats"].known.keys()


class Forgetful(SharedSource):
    """X has lost the rules before it is asked for the stream, so the source adds them again: they have other ids."""

    def read(self, put, connected, **options):
        self.rules = tuple(rule._replace(id=f"{rule.id} again") for rule in self.rules)
        super().read(put, connected, **options)


async def test_a_rule_of_two_that_x_had_lost_is_for_both(kafka, sink):
    """Its new id is known before its first post is split, also to the transforms."""
    labels = {"birds": Labels(), "cats": Labels()}
    wishes = {
        "birds": {"wanted": {"#a": "a"}, "transformer": labels["birds"]},
        "cats": {"wanted": {"#a": "mine"}, "transformer": labels["cats"]},
    }
    async with Sharing(Forgetful([line := shared_post(1, ("#a again", "birds/a"))]), sink, wishes):
        await until(lambda: kafka.of("birds"))

    assert [line] == kafka.of("birds") == kafka.of("cats")
    assert {"#a again": "mine"} == labels["cats"].known


async def test_all_get_all_of_a_stream_without_rules(kafka, sink):
    """A sample is for everybody, once each."""
    wishes = {"birds": {"wanted": {}}, "cats": {"wanted": {}}}
    async with Sharing(SharedSource([(post(1), post(2)), post(1)]), sink, wishes):
        await until(lambda: 2 == len(kafka.of("birds")) == len(kafka.of("cats")))

    assert [post(1), post(2)] == kafka.of("birds") == kafka.of("cats")


async def test_each_has_its_own_ledger(kafka, sink):
    """What X repeats is dropped for each, also by the next owner."""
    line = shared_post(1, "birds", "cats")
    now = {"skew_secs": skew_to(MADE_MS)}
    async with Sharing(SharedSource([line, line, ConnectionLost("reset")], [line], **now), sink, TWO) as running:
        await until(lambda: 4 == sum(event.posts for event in running.said(DuplicatesDropped)))
    async with Sharing(SharedSource([line, shared_post(2, "cats")], **now), MemorySink(kafka), TWO):
        await until(lambda: 2 == len(kafka.of("cats")))

    assert [line] == kafka.of("birds")
    for name in TWO:
        ids = [post_id for write in kafka.ledgers[name] for post_id in decode_ids(write.value)]
        assert len(set(ids)) == len(ids) == len(kafka.of(name))


async def test_posts_of_others_prove_the_same_time(kafka, sink):
    """A post that matched another's rule says as well how far X has come."""
    line = b'{"data":{"id":"%d"},"matching_rules":[{"id":"cats"}]}' % first_id(int(time.time() * 1000) + 180_000)
    async with Sharing(SharedSource([gate := Gate(), line], skew_secs=120.0), sink, TWO) as running:
        await until(lambda: running.said(StreamConnected))
        await asyncio.sleep(0.02)
        gate.set()
        await until(lambda: kafka.of("cats"))

    birds = running.offset("birds")
    assert birds.covered_to_ms >= birds.covered_from_ms + 20


@pytest.mark.parametrize("outcomes", [[CONFIRMED, DOUBTFUL], [LOST, LOST], [DOUBTFUL, LOST, DOUBTFUL]])
async def test_a_doubtful_commit_is_doubtful_for_all(kafka, outcomes):
    """Nothing is doubled and nothing lost, in any topic."""
    source = SharedSource([*numbered(0, "birds", "cats"), Gate(), *numbered(3, "cats")])
    gate = source.script[0][3]
    async with Sharing(source, MemorySink(kafka, outcomes), TWO):
        await until(lambda: 3 == len(kafka.of("birds")))
        gate.set()
        await until(lambda: 6 == len(kafka.of("cats")))

    assert numbered(0, "birds", "cats") == kafka.of("birds")
    assert [*numbered(0, "birds", "cats"), *numbered(3, "cats")] == kafka.of("cats")


async def test_a_replay_is_split_like_the_stream(kafka, sink):
    """It has the posts of all."""
    gap = Gap(from_ms=MADE_MS, to_ms=MADE_MS + 60_000, reason="connection_lost")
    offset = Coverage(covered_from_ms=MADE_MS - 1000, covered_to_ms=MADE_MS + 60_000, gaps=(gap,))
    kafka.offsets.append((sink.offset_key("birds", {"stream": "filtered"}), offset.encode()))
    policy = Policy(ways=frozenset({Way.RECOVERY}), none_because="", backfill_max_minutes=0)
    source = SharedSource([], skew_secs=skew_to(MADE_MS + 120_000))
    running = Sharing(source, sink, {"birds": {"policy": policy}, "cats": {}})
    running.finders["birds"].line_of = {1: shared_post(1, "birds"), 2: shared_post(2, "cats")}.get
    running.finders["birds"].numbers = [1, 2]
    async with running:
        await until(lambda: kafka.of("birds"))
        await until(lambda: not running.offset("birds").gap_at(gap.from_ms))

    assert [shared_post(1, "birds")] == kafka.of("birds")
    assert [] == kafka.of("cats")


# -- what stops one leaves the others alone


async def test_a_bad_line_stops_those_who_do_not_tolerate_it(kafka, sink):
    """Whose line it is cannot be known, so it is for all; who FAILS has no rules at X any more."""
    letters = Destination(connector="cats", topic="cats", dead_letter_topic="bad")
    wishes = {"birds": {}, "cats": {"tolerate_bad_records": True, "destination": letters}}
    gate = Gate()
    source = SharedSource([shared_post(1, "birds", "cats"), BAD, gate, shared_post(2, "birds", "cats")])
    async with Sharing(source, sink, wishes) as running:
        await until(lambda: State.FAILED in running.states("birds"))
        await until(lambda: {"birds": {}, "cats": {"cats": "r"}} == source.wants[-1])
        gate.set()
        await until(lambda: 2 == len(kafka.of("cats")))
        assert State.RUNNING is running.task.status.state
        assert not running.task.ended.is_set()

    assert [shared_post(1, "birds", "cats")] == kafka.of("birds")
    assert 1 == running.offset("birds").posts
    assert [BAD] == [letter.value for letter in kafka.dead_letters]
    assert 1 == source.connects
    assert ["birds"] == [event.of.connector for event in running.said(TaskFailed)]
    assert "errors.tolerance=all" in running.told["birds"][-1].trace
    assert State.UNASSIGNED is running.states("cats")[-1]


async def test_the_last_one_ends_the_task(kafka, sink):
    """When all have failed nobody reads."""
    async with Sharing(SharedSource([shared_post(1, "birds"), BAD]), sink, TWO) as running:
        await running.ended()

    assert {State.FAILED} == {running.states(name)[-1] for name in TWO}
    assert ["birds", "cats"] == sorted(event.of.connector for event in running.said(TaskFailed))
    assert [shared_post(1, "birds")] == kafka.of("birds")


async def test_a_refused_record_stops_its_connector(kafka, sink):
    """What came before it is delivered; the other topic has all."""
    sink.refuses, sink.refusing = {b"%d" % id_of(1)}, ("birds",)
    source = SharedSource([tuple(numbered(0, "birds", "cats")), gate := Gate(), *numbered(3, "birds", "cats")])
    async with Sharing(source, sink, TWO) as running:
        await until(lambda: State.FAILED in running.states("birds"))
        await until(lambda: 3 == len(kafka.of("cats")))
        gate.set()
        await until(lambda: 6 == len(kafka.of("cats")))

    assert numbered(0, "birds", "cats")[:1] == kafka.of("birds")
    assert 1 == running.offset("birds").posts
    assert [id_of(0)] == [each for write in kafka.ledgers["birds"] for each in decode_ids(write.value)]
    assert 6 == running.offset("cats").posts


async def test_a_topic_that_refuses_all_stops_its_connector(kafka, sink, monkeypatch):
    """Somebody may change the topic, so the group tries it again; a bad record stays bad."""
    monkeypatch.setattr(refusal, "REFUSED_IN_A_ROW", 1)
    sink.refuses, sink.refusing = {b"%d" % id_of(1)}, ("birds",)
    letters = Destination(connector="dogs", topic="dogs", dead_letter_topic="bad")
    tolerant = {"tolerate_bad_records": True, "destination": letters}
    source = SharedSource([shared_post(1, "birds", "cats"), gate := Gate(), BAD, shared_post(2, "dogs")])
    async with Sharing(source, sink, TWO | {"dogs": tolerant}) as running:
        await until(lambda: State.FAILED in running.states("birds"))
        gate.set()
        await until(lambda: State.FAILED in running.states("cats") and kafka.of("dogs"))

    failed = {name: next(each for each in running.told[name] if each.state is State.FAILED) for name in TWO}
    assert ["BrokerUnsuitable", "ToleranceExceeded"] == [each.trace.split(":")[0] for each in failed.values()]
    assert [True, False] == [each.may_pass for each in failed.values()]
    assert [shared_post(1, "birds", "cats")] == kafka.of("cats")


@pytest.mark.parametrize("first", [["birds", "cats"], ["birds"]])
@pytest.mark.parametrize("when", ["at once", "after a restart"])
async def test_a_topic_that_cannot_be_created_stops_its_connector(kafka, sink, first, when):
    """None of its posts is delivered, and its offset does not pass them; the others get what was on its way to them."""
    held = Held(outcome=LOST)
    if when == "at once":
        sink.unsuitable = ("birds",)
    else:
        sink.outcomes.append(held)
    source = SharedSource([shared_post(1, *first), gate := Gate(), shared_post(2, "birds", "cats")])
    async with Sharing(source, sink, TWO) as running:
        if when == "after a restart":
            await held.begun.wait()
            sink.unsuitable = ("birds",)
            held.released.set()
        await until(lambda: State.FAILED in running.states("birds"))
        gate.set()
        await until(lambda: shared_post(2, "birds", "cats") in kafka.of("cats"))

    assert len(first) == len(kafka.of("cats"))
    assert "BrokerUnsuitable: The topic owls does not exist" == running.told["birds"][-1].trace
    assert_nothing_of_birds(kafka, sink)


def assert_nothing_of_birds(kafka, sink):
    """No post of it is in Kafka, and its offset has passed none."""
    key = sink.offset_key("birds", {"stream": "filtered"})
    assert [] == kafka.of("birds")
    assert all(0 == Coverage.decode(value).posts for each, value in kafka.offsets if each == key)


async def test_a_topic_that_is_gone_and_comes_back_while_kafka_is_away(kafka, sink):
    """What was on its way to it was left out, so it fails, and no later post is delivered past that."""
    sink.outcomes.append(held := Held(outcome=LOST))
    source = SharedSource([shared_post(1, *TWO), shared_post(2, *TWO), gate := Gate(), shared_post(3, *TWO)])
    async with Sharing(source, sink, TWO, batch_max_records=1) as running:
        await held.begun.wait()
        await until(lambda: 2 == len(running.task._in_flight.pending))
        sink.unsuitable = ("birds",)
        # of the first batch both, birds, cats, and what is left; at the second Kafka is away, and the topic comes back
        sink.encodes.extend([CONFIRMED] * 4 + [LOST])
        sink.when_away = lambda: setattr(sink, "unsuitable", ())
        held.released.set()
        await until(lambda: 2 == len(kafka.of("cats")))
        gate.set()
        await until(lambda: 3 == len(kafka.of("cats")))

    assert 1 == running.states("birds").count(State.FAILED)
    assert_nothing_of_birds(kafka, sink)


async def test_a_topic_that_is_gone_while_a_batch_waits_to_be_built(kafka, sink):
    """The batch is tried by a new producer, and then it is known whose topic it was."""
    sink.encodes.append(LOST)
    source = SharedSource([gate := Gate(), shared_post(1, "birds", "cats")])
    async with Sharing(source, sink, TWO) as running:
        await until(lambda: running.task.readers and running.task.readers[0].connected)
        sink.unsuitable = ("birds",)
        gate.set()
        await until(lambda: State.FAILED in running.states("birds") and kafka.of("cats"))

    assert [shared_post(1, "birds", "cats")] == kafka.of("cats")
    assert_nothing_of_birds(kafka, sink)


async def test_a_refused_record_that_is_tolerated(kafka, sink):
    """It is a dead letter of its connector alone."""
    sink.refuses, sink.refusing = {b"%d" % id_of(1)}, ("birds",)
    letters = Destination(connector="birds", topic="birds", dead_letter_topic="bad")
    wishes = {"birds": {"tolerate_bad_records": True, "destination": letters}, "cats": {}}
    async with Sharing(SharedSource([tuple(numbered(0, "birds", "cats"))]), sink, wishes) as running:
        await until(lambda: 3 == len(kafka.of("cats")) and kafka.dead_letters)

    assert [id_of(0), id_of(2)] == [each for write in kafka.ledgers["birds"] for each in decode_ids(write.value)]
    assert [(2, 1), (3, 0)] == [(running.offset(n).posts, running.offset(n).dead_letters) for n in TWO]


async def test_refused_rules_stop_their_connector(kafka, sink):
    """With X's words; the others connect."""
    refusal = RulesRefused("X refuses 1 rule(s)", by_connector={"birds": "'-a': no"})
    source = SharedSource([shared_post(1, "cats")], prepares=[refusal])
    async with Sharing(source, sink, TWO) as running:
        await until(lambda: kafka.of("cats"))

    assert "InvalidRequest: X refuses rules: '-a': no" == running.told["birds"][-1].trace
    assert [{}, {"birds": {}, "cats": {"cats": "r"}}] == source.wants


async def test_an_unreadable_offset_stops_its_connector(kafka, sink):
    """The others do not need it."""
    kafka.offsets.append((sink.offset_key("birds", {"stream": "filtered"}), b"no offset"))
    async with Sharing(SharedSource([shared_post(1, "birds", "cats")]), sink, TWO) as running:
        await until(lambda: kafka.of("cats"))

    assert [State.FAILED] == running.states("birds")
    assert [] == kafka.of("birds")


async def test_a_spent_budget_rests_its_connector(kafka, sink, monkeypatch):
    """Its rules leave the stream until the next day; then it comes back, with a gap, and nobody else has noticed."""
    one = Budget(posts_per_day=1)
    wishes = {"birds": {"budget": one}, "cats": {}}
    gate, later = Gate(), Gate()
    source = SharedSource(
        [shared_post(1, "birds", "cats"), gate, shared_post(2, "birds", "cats"), later, shared_post(3, "birds", "cats")]
    )
    async with Sharing(source, sink, wishes) as running:
        await until(lambda: {"birds": {}, "cats": {"cats": "r"}} == source.wants[-1])
        assert State.PAUSED is running.states("birds")[-1]
        assert "budget.posts.per.day" in running.told["birds"][-1].detail
        gate.set()
        await until(lambda: 2 == len(kafka.of("cats")))
        assert [shared_post(1, "birds", "cats")] == kafka.of("birds")
        (birds, _) = running.task.subscribers
        monkeypatch.setattr(birds.resting, "resume_at", 0.0)
        monkeypatch.setattr(birds, "budget_reached", lambda: None)
        await until(lambda: {"birds": "r"} == source.wants[-1]["birds"] and birds.in_force)
        later.set()
        await until(lambda: 3 == len(kafka.of("cats")) and 2 == len(kafka.of("birds")))

    assert [TaskId("birds", 0)] == [event.of for event in running.said(TaskPaused)]
    assert 1 == source.connects
    assert ["budget"] == [gap.reason for gap in running.offset("birds").gaps]
    assert () == running.offset("cats").gaps
    assert State.RUNNING in running.states("birds")[running.states("birds").index(State.PAUSED) :]


async def test_a_budget_does_not_count_what_came_meanwhile_for_others(kafka, sink):
    """What was read while its rules were out of the stream is none of its money, also once it is alone."""
    cats = [shared_post(number, "cats") for number in range(2, 7)]
    gate, later = Gate(), Gate()
    source = SharedSource([shared_post(1, "birds", "cats"), gate, *cats, later, shared_post(7, "birds")])
    async with Sharing(source, sink, {"birds": {"budget": Budget(posts_per_day=1)}, "cats": {}}) as running:
        await until(lambda: {"birds": {}, "cats": {"cats": "r"}} == source.wants[-1])
        gate.set()
        await until(lambda: 6 == len(kafka.of("cats")))
        running.change({"birds": {"budget": Budget(posts_per_day=4)}})
        await until(lambda: State.UNASSIGNED in running.states("cats"))
        await until(lambda: all(each.in_force for each in running.task.subscribers))
        later.set()
        await until(lambda: 2 == len(kafka.of("birds")))
        await asyncio.sleep(0.02)
        assert 1 == len(running.said(TaskPaused))

    assert 1 == source.connects


# -- they come and go


async def test_one_joins_without_a_reconnect(kafka, sink):
    """It is covered from the moment at which its rules are in force; the one that reads already notices nothing."""
    source = SharedSource([shared_post(1, "birds", "cats"), gate := Gate(), shared_post(2, "birds", "cats")])
    async with Sharing(source, sink, {"birds": {}}) as running:
        await until(lambda: kafka.of("birds"))
        before_ms = int(time.time() * 1000)
        running.change(TWO)
        await until(lambda: {"birds": {"birds": "r"}, "cats": {"cats": "r"}} == source.wants[-1])
        await until(lambda: all(each.in_force for each in running.task.subscribers))
        gate.set()
        await until(lambda: kafka.of("cats"))

    assert [shared_post(2, "birds", "cats")] == kafka.of("cats")
    assert [shared_post(1, "birds", "cats"), shared_post(2, "birds", "cats")] == kafka.of("birds")
    assert (1, 1) == (source.connects, len(running.said(StreamConnected)))
    assert before_ms <= running.offset("cats").covered_from_ms
    assert () == running.offset("birds").gaps == running.offset("cats").gaps
    assert [(TaskId("cats", 0), ("birds",))] == [(event.of, event.others) for event in running.said(SubscriberJoined)]
    assert {State.RUNNING} == set(running.states("cats")[:-1])
    assert State.UNASSIGNED is running.states("cats")[-1]


async def test_one_leaves_without_a_reconnect(kafka, sink):
    """Its rules go first; then its last offset is in Kafka, and it is told so."""
    source = SharedSource([shared_post(1, "birds", "cats"), gate := Gate(), shared_post(2, "birds", "cats")])
    async with Sharing(source, sink, TWO) as running:
        await until(lambda: kafka.of("birds"))
        running.change({"cats": {}})
        await until(lambda: State.UNASSIGNED in running.states("birds"))
        assert {"birds": {}, "cats": {"cats": "r"}} == source.wants[-1]
        assert ["cats"] == [each.name for each in running.task.subscribers]
        gate.set()
        await until(lambda: 2 == len(kafka.of("cats")))

    assert [shared_post(1, "birds", "cats")] == kafka.of("birds")
    assert 1 == running.offset("birds").posts
    assert 1 == source.connects
    assert [TaskId("birds", 0)] == [event.of for event in running.said(SubscriberLeft)]


async def test_one_that_comes_back_has_a_gap(kafka, sink):
    """Of the time in which it was paused, by that reason; its ids are still known."""
    source = SharedSource(
        [shared_post(1, "birds", "cats"), gate := Gate(), shared_post(1, "birds"), shared_post(2, "birds")],
        skew_secs=skew_to(MADE_MS),
    )
    async with Sharing(source, sink, TWO) as running:
        await until(lambda: kafka.of("birds"))
        running.change({"cats": {}})
        await until(lambda: State.UNASSIGNED in running.states("birds"))
        await asyncio.sleep(0.02)
        running.change({"cats": {}, "birds": {"paused_until_ms": MADE_MS + 600_000}})
        await until(lambda: 2 == len(running.task.subscribers.all) and running.task.subscribers.all[1].in_force)
        gate.set()
        await until(lambda: 2 == len(kafka.of("birds")))

    assert [shared_post(1, "birds", "cats"), shared_post(2, "birds")] == kafka.of("birds")
    assert ["paused"] == [gap.reason for gap in running.offset("birds").gaps]


async def test_the_last_one_leaves(kafka, sink):
    """Then the task ends."""
    async with Sharing(SharedSource([shared_post(1, "birds")]), sink, TWO) as running:
        await until(lambda: kafka.of("birds"))
        running.change({})
        await running.ended()

    assert {State.UNASSIGNED} == {running.states(name)[-1] for name in TWO}


async def test_rules_that_x_does_not_delete_hold_nobody_back(kafka, sink, monkeypatch):
    """X cannot be reached: it is said, tried again, and whoever leaves has left after a while all the same."""
    monkeypatch.setattr(subscribers, "LEAVE_SECS", 0.05)
    source = SharedSource([shared_post(1, "birds", "cats")])
    async with Sharing(source, sink, TWO) as running:
        await until(lambda: kafka.of("birds"))
        source.prepares.extend([ServiceUnavailable("X answered 503")] * 20)
        running.change({"cats": {}})
        await until(lambda: State.UNASSIGNED in running.states("birds"))
        source.prepares.clear()
        await until(lambda: {"birds": {}, "cats": {"cats": "r"}} == source.wants[-1])

    assert "ServiceUnavailable" == running.said(RulesDelayed)[0].error


async def test_a_look_does_not_wait(kafka, sink):
    """X has refused a moment ago, and is asked again in a minute; who asks to look is served at once."""
    source = SharedSource([shared_post(1, "birds", "cats")])
    async with Sharing(source, sink, TWO) as running:
        await until(lambda: kafka.of("birds"))
        source.prepares.append(NotAuthorized("X answered 403"))
        running.change({"cats": {}})
        await until(lambda: running.said(RulesDelayed))
        asked = len(source.wants)
        await asyncio.sleep(0.05)
        assert asked == len(source.wants)

        running.task.look_at_rules()
        await until(lambda: asked < len(source.wants))
        await until(lambda: State.UNASSIGNED in running.states("birds"))


async def test_a_look_at_rules_that_are_right(kafka, sink):
    """X is asked all the same: somebody may have deleted them there."""
    source = SharedSource([shared_post(1, "birds", "cats")])
    async with Sharing(source, sink, TWO) as running:
        await until(lambda: kafka.of("birds"))
        asked = len(source.wants)
        running.task.look_at_rules()
        await until(lambda: asked < len(source.wants))

    assert 1 == source.connects


async def test_other_rules_without_a_reconnect(kafka, sink):
    """They are in the offset, for repairs; a post of the new rule is delivered."""
    source = SharedSource([shared_post(1, "birds"), gate := Gate(), shared_post(2, "owls"), KEEP_ALIVE])
    async with Sharing(source, sink, TWO) as running:
        await until(lambda: kafka.of("birds"))
        before = running.offset("birds").rules
        running.change({"birds": {"wanted": {"birds": "r", "owls": "o"}}, "cats": {}})
        await until(lambda: "owls" in source.wants[-1]["birds"])
        gate.set()
        await until(lambda: 2 == len(kafka.of("birds")))

    assert before != running.offset("birds").rules
    assert (1, ()) == (source.connects, running.offset("birds").gaps)


async def test_nobody_claims_time_while_x_changes_rules(kafka, sink):
    """From before X is asked until it has answered; a new rule is in the offset beside the old ones until then."""
    frozen = []

    class Watched(SharedSource):
        def prepare(self):
            frozen.append([each.progress.frozen for each in running.task.partitions])
            return super().prepare()

    running = Sharing(Watched([shared_post(1, "birds")]), sink, TWO)
    async with running:
        await until(lambda: kafka.of("birds"))
        running.change({"birds": {"wanted": {"owls": "o"}}, "cats": {}})
        await until(lambda: "owls" in running.source.wants[-1]["birds"])
        await until(lambda: not any(each.progress.frozen for each in running.task.partitions))
        (birds, _) = running.task.subscribers
        (progress,) = birds.progresses
        gap = Gap(from_ms=MADE_MS, to_ms=MADE_MS + 1, reason="connection_lost", rules=progress.coverage.rules)

        assert ["birds", "owls"] == sorted(rule.value for rule in progress.rules_in(gap))
    assert [[True, True]] * 2 == frozen


async def test_a_rule_that_was_gone_for_a_moment_leaves_a_gap(kafka, sink):
    """X cannot change a tag."""
    source = SharedSource([shared_post(1, "birds", "cats")])
    async with Sharing(source, sink, TWO) as running:
        await until(lambda: kafka.of("birds"))
        source.moved = {"cats"}
        running.change({"birds": {}, "cats": {"wanted": {"cats": "other"}}})
        await until(lambda: running.offset("cats").gaps)

    assert ["rules"] == [gap.reason for gap in running.offset("cats").gaps]
    assert () == running.offset("birds").gaps


async def test_other_topics(kafka, sink):
    """What is delivered from now on goes there."""
    source = SharedSource([shared_post(1, "birds", "cats"), gate := Gate(), shared_post(2, "birds", "cats")])
    async with Sharing(source, sink, TWO) as running:
        await until(lambda: kafka.of("birds"))
        running.change({"birds": {"destination": Destination(connector="birds", topic="owls")}, "cats": {}})
        await until(lambda: "owls" in {each.topic for each in sink.destinations})
        gate.set()
        await until(lambda: 2 == len(kafka.of("birds")) == len(kafka.of("cats")))

    topics = [share.to.topic for share in kafka.commits if share.to.connector == "birds" and share.records]
    assert ["birds", "owls"] == topics
    assert (1, 2) == (source.connects, running.offset("birds").posts)


async def test_other_fields_reconnect_once(kafka, sink):
    """A gap for all, by that reason."""
    source = SharedSource([shared_post(1, "birds", "cats")])
    async with Sharing(source, sink, TWO) as running:
        await until(lambda: kafka.of("birds"))
        running.change(TWO, parameters={"expansions": "author_id"})
        await until(lambda: 2 == source.connects and running.offset("cats").gaps)
        await until(lambda: running.offset("birds").gaps)

    assert [{}, {"expansions": "author_id"}] == source.asked
    assert [["fields_changed"]] * 2 == [[gap.reason for gap in running.offset(name).gaps] for name in TWO]


async def test_a_failed_one_begins_anew(kafka, sink):
    """When somebody restarts it; the others read on."""
    letters = Destination(connector="cats", topic="cats", dead_letter_topic="bad")
    tolerant = {"tolerate_bad_records": True, "destination": letters}
    source = SharedSource([shared_post(1, "birds", "cats"), BAD, gate := Gate(), shared_post(2, "birds", "cats")])
    async with Sharing(source, sink, {"birds": {}, "cats": tolerant}) as running:
        await until(lambda: State.FAILED in running.states("birds"))
        running.change({"birds": {}, "cats": tolerant}, restart=frozenset([TaskId("birds", 0)]))
        await until(lambda: any(each.name == "birds" and each.in_force for each in running.task.subscribers))
        gate.set()
        await until(lambda: 2 == len(kafka.of("birds")))

    assert [shared_post(1, "birds", "cats"), shared_post(2, "birds", "cats")] == kafka.of("birds")
    assert 1 == source.connects
    assert ["not_running"] == [gap.reason for gap in running.offset("birds").gaps]


async def test_late_posts_of_an_idle_connector_are_not_for_the_only_one(kafka, sink):
    """Its rules were at X until the stream was asked for: what they matched before may still come."""
    source = SharedSource([shared_post(1, "cats"), shared_post(2, "birds"), shared_post(3, "birds", "cats")])
    async with Sharing(source, sink, {"birds": {}}, idle=["cats"]):
        await until(lambda: len(kafka.of("birds")) >= 2)

    assert [shared_post(2, "birds"), shared_post(3, "birds", "cats")] == kafka.of("birds")


async def test_idle_connectors_have_no_rules(kafka, sink):
    """Those that are paused cost nothing."""
    source = SharedSource([shared_post(1, "birds", "cats")])
    async with Sharing(source, sink, TWO) as running:
        await until(lambda: kafka.of("birds"))
        running.change(TWO, idle=frozenset(["dogs"]))
        await until(lambda: {"dogs": {}, "birds": {"birds": "r"}, "cats": {"cats": "r"}} == source.wants[-1])
