"""What a connector's configuration allows its tasks: which ways to repair, what to spend."""

from dataclasses import replace

import pytest

from connector.cluster.configs import Connector, Former, Placement
from connector.config.load import load
from connector.coverage.offset import Coverage, Way
from connector.coverage.spend import Budget, Spend
from connector.kafka.state.offsets import encode_key
from connector.records.record import Destination, TaskId
from connector.sources.archive.queries import QUERY_CHARACTERS
from connector.sources.source import StreamSource
from connector.task.rechecks import Rechecks
from connector.worker import wiring
from connector.worker.tasks import ConnectorParts, budget_of, credentials_of, policy_of

DECLARED = {"CONNECTOR_TOPIC": "posts", "CONNECTOR_HASHTAGS": "python", "CONNECTOR_X_BEARER_TOKEN": "AAAAsynthetic"}
FIREHOSE = {"CONNECTOR_STREAM": "firehose", "CONNECTOR_HASHTAGS": ""}
SAMPLE = {"CONNECTOR_STREAM": "sample", "CONNECTOR_HASHTAGS": ""}
RECHECK = {"CONNECTOR_STREAM": "recheck", "CONNECTOR_HASHTAGS": ""}
ENTERPRISE = {"CONNECTOR_PLAN": "enterprise"}
BACKFILL, RECOVERY, SEARCH = Way


def config_of(tmp_path, *environs):
    environ = dict(DECLARED)
    for each in environs:
        environ |= each
    return load(environ, tmp_path).connector


WAYS = [
    (({},), {SEARCH}),
    (({"CONNECTOR_RECOVERY": "search"},), {SEARCH}),
    (({"CONNECTOR_RECOVERY": "none"},), set()),
    ((ENTERPRISE,), {BACKFILL, RECOVERY, SEARCH}),
    ((ENTERPRISE, {"CONNECTOR_RECOVERY": "backfill"}), {BACKFILL, RECOVERY}),
    ((ENTERPRISE, {"CONNECTOR_RECOVERY": "search"}), {SEARCH}),
    ((ENTERPRISE, {"CONNECTOR_RECOVERY": "none"}), set()),
    ((ENTERPRISE, {"CONNECTOR_BACKFILL_MAX_MINUTES": "0"}), {RECOVERY, SEARCH}),
    ((ENTERPRISE, FIREHOSE), {BACKFILL, RECOVERY}),
    ((ENTERPRISE, SAMPLE), {BACKFILL}),
    ((SAMPLE,), set()),
]


@pytest.mark.parametrize(("environs", "ways"), WAYS)
def test_ways_of_a_plan_and_a_stream(tmp_path, environs, ways):
    """A gap is repaired only as the configuration wants, and only as plan and stream can."""
    assert ways == policy_of(config_of(tmp_path, *environs)).ways


REASONS = [
    (({"CONNECTOR_RECOVERY": "none"},), "recovery=none"),
    ((SAMPLE,), "the stream sample has no rules that could be searched for"),
    ((ENTERPRISE, {"CONNECTOR_RECOVERY": "backfill"}), "recovery=backfill allows no search"),
]


@pytest.mark.parametrize(("environs", "reason"), REASONS)
def test_reason_why_there_is_no_way(tmp_path, environs, reason):
    """What a lost gap says to people is what they could change."""
    assert reason == policy_of(config_of(tmp_path, *environs)).none_because


def test_minutes_of_a_backfill(tmp_path):
    """The longest gap that a reconnect may ask for is configured."""
    policy = policy_of(config_of(tmp_path, ENTERPRISE, {"CONNECTOR_BACKFILL_MAX_MINUTES": "2"}))

    assert 2 == policy.backfill_max_minutes


PRICES = [
    ({}, 5),
    ({"CONNECTOR_EXPANSIONS": "author_id"}, 15),
    ({"CONNECTOR_EXPANSIONS": "referenced_tweets.id"}, 10),
    ({"CONNECTOR_EXPANSIONS": "author_id,referenced_tweets.id,geo.place_id"}, 20),
    ({"CONNECTOR_EXPANSIONS": "geo.place_id"}, 5),
    (ENTERPRISE | {"CONNECTOR_EXPANSIONS": "author_id"}, 0),
    (RECHECK | {"CONNECTOR_EXPANSIONS": "author_id"}, 5),
]


@pytest.mark.parametrize(("environ", "mills"), PRICES)
def test_price_of_a_post(tmp_path, environ, mills):
    """A post costs 0.5 cents, more with users or posts that come with it; enterprise prices are not known."""
    assert Budget(mills_each=mills) == budget_of(config_of(tmp_path, environ))


def test_budget(tmp_path):
    """Posts a day as they are, dollars a month in thousandths."""
    environ = {"CONNECTOR_BUDGET_POSTS_PER_DAY": "1000", "CONNECTOR_BUDGET_USD_PER_MONTH": "12.505"}

    assert Budget(posts_per_day=1_000, mills_per_month=12_505, mills_each=5) == budget_of(config_of(tmp_path, environ))


# -- a task of it


async def built(tmp_path, *environs, number=0):
    """A task as a worker's herder would build it, and the worker's application."""
    environ = dict(DECLARED)
    for each in environs:
        environ |= each
    loaded = load(environ, tmp_path)
    app = wiring.wire(loaded)
    slots = tuple(range(loaded.connector.tasks))
    connector = Connector(
        name="posts", config=loaded.declared, placement=Placement(slots, "posts"), tasks=len(slots), declared_by="here"
    )
    factory = app.herder._factory
    return app, factory.build([connector], number, idle=(), on_status=lambda _of, _status: None, ghosts=())


def subscription_of(task):
    (subscriber,) = task.subscribers
    return subscriber.subscription


METERED = [
    ({}, True),
    (RECHECK, True),
    (ENTERPRISE | {"CONNECTOR_STREAM": "compliance", "CONNECTOR_HASHTAGS": ""}, False),
    (ENTERPRISE, False),
    (ENTERPRISE | {"CONNECTOR_BUDGET_POSTS_PER_DAY": "5"}, True),
]


@pytest.mark.parametrize(("environ", "metered"), METERED)
async def test_posts_are_counted_where_they_cost(tmp_path, environ, metered):
    """By a plan that charges for each post, or against a budget."""
    _, task = await built(tmp_path, environ)

    assert metered == subscription_of(task).metered


async def test_a_recheck_hands_its_posts_to_its_source(tmp_path):
    """At the age that is configured; another age is another task."""
    _, task = await built(tmp_path, RECHECK, {"CONNECTOR_RECHECK_HOURS": "48"})
    (source,) = task._sources

    recheck = subscription_of(task).withdrawals.recheck
    assert 48 * 3_600_000 == recheck.age_ms
    assert source.handover is recheck.handover
    assert ({"stream": "recheck"}, {}) == (source.partition, source.parameters)
    assert isinstance(next(iter(task.subscribers)).converter, Rechecks)


@pytest.mark.parametrize(("environ", "characters"), [({}, 512), (ENTERPRISE, 4096)])
async def test_finder_of_a_source(tmp_path, environ, characters):
    """Each source has a finder of its own, with queries as long as the plan has them."""
    _, task = await built(tmp_path, environ)
    (source,) = task._sources
    finder = subscription_of(task).finder(0)

    assert (source, characters) == (finder.source, finder.max_characters)
    assert characters in QUERY_CHARACTERS.values()


async def test_tasks_share_a_budget(tmp_path):
    """What the other tasks of the connector have spent counts, and not twice what is this one's own."""
    environ = FIREHOSE | ENTERPRISE | {"CONNECTOR_TASKS_MAX": "2", "CONNECTOR_BUDGET_POSTS_PER_DAY": "100"}
    app, task = await built(tmp_path, environ)
    offsets = app.herder._factory.changes.offsets
    spent = [Spend(day="2026-11-24", posts=number, month="2026-11", mills=0) for number in (7, 8, 9)]
    for number, each in enumerate(spent, start=1):
        key = encode_key("posts", {"stream": "firehose", "partition": str(number)})
        offsets.apply(key, Coverage(covered_to_ms=1, spent=each).encode())
    offsets.apply(encode_key("posts", {"stream": "firehose", "partition": "4"}), b"no offset")

    assert [spent[1], Spend()] == list(subscription_of(task).others())


async def test_only_task_asks_nobody(tmp_path):
    """Without a budget, or without other tasks, nothing has to be looked up."""
    _, alone = await built(tmp_path, {"CONNECTOR_BUDGET_POSTS_PER_DAY": "100"})

    assert () == subscription_of(alone).others()


def test_a_secret_is_in_no_repr(tmp_path):
    """A configuration by REST may hold it as it is."""
    config = config_of(tmp_path)
    texts = {"x.bearer.token": "AAAAsynthetic"}
    parts = ConnectorParts(texts, config, credentials_of(config), Destination(connector="a", topic="posts"), None)

    connector = Connector(name="a", config=texts)

    assert "AAAAsynthetic" not in repr((parts, connector))


async def wired(tmp_path):
    """What builds tasks, and a connector whose slot belongs to another."""
    loaded = load(DECLARED, tmp_path)
    connector = Connector(
        name="posts", config=loaded.declared, placement=Placement((0,), "first"), tasks=1, declared_by="here"
    )
    return wiring.wire(loaded).herder._factory, connector


async def test_transactional_id_is_that_of_the_slots_owner(tmp_path):
    """Whoever reads the slot next fences who read it before, whichever connector comes first."""
    builder, connector = await wired(tmp_path)
    alone = replace(connector, placement=None)
    ids = [builder.transactional_id(each, TaskId("posts", 0)) for each in (connector, alone)]

    assert ["connector-first-0", "connector-posts-0"] == ids


async def test_a_task_goes_on_only_as_it_was_built(tmp_path):
    """Another delivery needs another producer."""
    builder, connector = await wired(tmp_path)
    builder.build([connector], 0, idle=(), on_status=lambda _of, _status: None, ghosts=())
    other = replace(connector, config={**connector.config, "delivery": "at_least_once"})

    assert [True, False] == [builder.fits(0, [each]) for each in (connector, other)]


async def test_a_task_begins_with_what_lies_in_earlier_slots(tmp_path):
    """Its offsets are brought to its slot first, and the ids in its other ledgers are known to it."""
    builder, connector = await wired(tmp_path)
    earlier = (Former(7, TaskId("posts", 0)), Former(0, TaskId("posts", 1)))
    connector = replace(connector, placement=replace(connector.placement, earlier=earlier))
    gathered = []

    async def gather(of, number, number_of, transactional_id):
        gathered.append((of.name, number, number_of({"stream": "filtered"}), number_of({"stream": "sample"})))

    builder.changes.gather = gather
    await builder.prepare(connector, 0)
    task = builder.build([connector], 0, idle=(), on_status=lambda _of, _status: None, ghosts=())

    assert [("posts", 0, 0, -1)] == gathered
    assert [(7,)] == [each.subscription.destination.earlier_slots for each in task.subscribers.coming]


async def test_connectors_of_one_app(tmp_path):
    """Who reads with the same credentials shares X's limits; what says so does not hold them."""
    builder, connector = await wired(tmp_path)
    beside = replace(connector, name="beside", config={**connector.config, "name": "beside"})
    other = replace(connector, name="other", config={**beside.config, "name": "other", "x.bearer.token": "another"})

    assert builder.app_of(connector) == builder.app_of(beside) != builder.app_of(other)
    assert DECLARED["CONNECTOR_X_BEARER_TOKEN"].encode() not in builder.app_of(connector)


async def test_credentials_of_the_deleted_are_forgotten(tmp_path):
    """A worker that runs for months does not keep those of all connectors that it ever had."""
    builder, connector = await wired(tmp_path)
    gone = replace(connector, name="gone", config={**connector.config, "name": "gone"})
    kept = builder.parts_of(connector)
    first = builder.parts_of(gone)
    builder.keep({"posts"})

    assert kept is builder.parts_of(connector)
    assert first is not builder.parts_of(gone)


async def test_rules_that_others_want_stay(tmp_path, monkeypatch):
    """When those of a connector are deleted."""
    wanted = []
    monkeypatch.setattr(StreamSource, "prepare", lambda source: wanted.append(source.wanted))
    builder, connector = await wired(tmp_path)
    await builder.retire(replace(connector, name="gone"), [connector])

    assert [{"posts": 1, "gone": 0}] == [{name: len(rules) for name, rules in each.items()} for each in wanted]
