"""What a connector's configuration allows its tasks: which ways to repair, what to spend."""

import pytest

from connector.config.load import load
from connector.coverage.offset import Coverage, Way
from connector.coverage.spend import Budget, Spend
from connector.kafka.state.offsets import encode_key
from connector.records.record import TaskId
from connector.sources.archive.queries import QUERY_CHARACTERS
from connector.worker import wiring
from connector.worker.tasks import budget_of, policy_of

DECLARED = {"CONNECTOR_TOPIC": "posts", "CONNECTOR_HASHTAGS": "python", "CONNECTOR_X_BEARER_TOKEN": "AAAAsynthetic"}
FIREHOSE = {"CONNECTOR_STREAM": "firehose", "CONNECTOR_HASHTAGS": ""}
SAMPLE = {"CONNECTOR_STREAM": "sample", "CONNECTOR_HASHTAGS": ""}
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
    app = wiring.wire(load(environ, tmp_path))
    return app, app.herder._build(TaskId("posts", number), number, on_status=lambda _: None, ghosts=())


METERED = [
    ({}, True),
    (ENTERPRISE, False),
    (ENTERPRISE | {"CONNECTOR_BUDGET_POSTS_PER_DAY": "5"}, True),
]


@pytest.mark.parametrize(("environ", "metered"), METERED)
async def test_posts_are_counted_where_they_cost(tmp_path, environ, metered):
    """By a plan that charges for each post, or against a budget."""
    _, task = await built(tmp_path, environ)

    assert metered == task.settings.metered


@pytest.mark.parametrize(("environ", "characters"), [({}, 512), (ENTERPRISE, 4096)])
async def test_finder_of_a_source(tmp_path, environ, characters):
    """Each source has a finder of its own, with queries as long as the plan has them."""
    _, task = await built(tmp_path, environ)
    ((source, finder),) = task._sources

    assert (source, characters) == (finder.source, finder.max_characters)
    assert characters in QUERY_CHARACTERS.values()


async def test_tasks_share_a_budget(tmp_path):
    """What the other tasks of the connector have spent counts, and not twice what is this one's own."""
    environ = FIREHOSE | ENTERPRISE | {"CONNECTOR_TASKS_MAX": "2", "CONNECTOR_BUDGET_POSTS_PER_DAY": "100"}
    app, task = await built(tmp_path, environ)
    offsets = app.herder._build._offsets
    spent = [Spend(day="2026-11-24", posts=number, month="2026-11", mills=0) for number in (7, 8, 9)]
    for number, each in enumerate(spent, start=1):
        key = encode_key("posts", {"stream": "firehose", "partition": str(number)})
        offsets.apply(key, Coverage(covered_to_ms=1, spent=each).encode())
    offsets.apply(encode_key("posts", {"stream": "firehose", "partition": "4"}), b"no offset")

    assert [spent[1], Spend()] == list(task.settings.others())


async def test_only_task_asks_nobody(tmp_path):
    """Without a budget, or without other tasks, nothing has to be looked up."""
    _, alone = await built(tmp_path, {"CONNECTOR_BUDGET_POSTS_PER_DAY": "100"})

    assert () == alone.settings.others()
