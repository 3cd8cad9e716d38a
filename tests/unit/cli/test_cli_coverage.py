import io
import json

import pytest
from rich.console import Console

from connector.cli.coverage import (
    BAR_CELLS,
    MISSING,
    Outages,
    Seen,
    Wrong,
    bar,
    chosen_members,
    cost_of,
    paces_of,
    show,
)
from connector.cli.placed import Member, stored_member
from connector.cluster.configs import Configs, Connector, Placement, TargetState, created
from connector.config.load import load
from connector.kafka.state.offsets import OffsetTable, encode_key
from connector.records.snowflake import from_iso

NOW = "2026-11-24T16:34:49.000Z"
GAP = {
    "from": "2026-11-24T04:34:18.683Z",
    "to": "2026-11-24T15:52:31.118Z",
    "reason": "connection_lost",
    "state": "repairing",
    "posts": 1234567,
    "cost_usd": 6172.835,
    "detail": "X answers 503 since 16:33; the next try is in 40 s",
}
COVERAGE = {
    "name": "posts",
    "covered_from": "2026-11-23T00:00:00.000Z",
    "covered_to": "2026-11-24T16:34:18.200Z",
    "gaps": [GAP, {**GAP, "state": "pending", "detail": None}],
    "repaired": [{**GAP, "state": "repaired"}],
}


def shown(width, coverage=COVERAGE):
    out = io.StringIO()
    show(coverage, Console(file=out, width=width, highlight=False), from_iso(NOW))
    return out.getvalue()


@pytest.mark.parametrize("width", [76, 80, 100, 120, 160])
def test_it_fits(width):
    """Each line fits into the terminal, and nothing of a gap is cut off."""
    text = shown(width)
    joined = " ".join(text.split())

    assert [] == [line for line in text.splitlines() if len(line.rstrip()) > width]
    assert "…" not in text
    assert "(30.8 s ago)" in joined
    for word in (GAP["from"], GAP["to"], "11.3 h", "connection_lost", "repairing", "1,234,567", "6172.835", "pending"):
        assert word in joined


def test_a_narrow_terminal_gets_whole_lines():
    """What is copied out of it, as the begin of a gap for --retry, stands in one line."""
    assert f"  {GAP['from']} to {GAP['to']}  (11.3 h)\n" in shown(80)


@pytest.mark.parametrize("size", BAR_CELLS)
def test_a_bar_of_any_size_is_a_day(size):
    """The gap takes its share of the day, whatever the width."""
    share = (from_iso(GAP["to"]) - from_iso(GAP["from"])) / 86_400_000
    missing = bar({**COVERAGE, "gaps": [{**GAP, "state": "pending"}]}, from_iso(NOW), size).count(MISSING)

    assert abs(missing - share * size) <= 2


def status(state, outages):
    fields = {"state": state, "trace": None, "worker_id": "w:1", "generation": 0, "version": "0.1.0"}
    return json.dumps({**fields, "detail": None, "connections": [], "outages": outages, "process": "p"}).encode()


def test_an_outage_that_is_over_is_not_shown():
    """A connector that was paused for its budget and runs again has a connection: its last status counts."""
    outages = Outages("posts", 2)
    for key, value in (
        (b"status-task-posts-0", status("PAUSED", [["", "budget"]])),
        (b"status-task-posts-1", status("RUNNING", [["2", "connection_lost"]])),
        (b"status-task-others-0", status("RUNNING", [["5", "connection_lost"]])),
        (b"status-task-posts-0", status("RUNNING", [])),
    ):
        outages.apply(key, value)
    assert {"2": "connection_lost"} == outages.now

    outages.apply(b"status-task-posts-1", None)
    assert {} == outages.now


# -- which connectors, and what a repair costs

DECLARED = {"CONNECTOR_TOPIC": "t", "CONNECTOR_HASHTAGS": "a", "CONNECTOR_X_BEARER_TOKEN": "x"}


def group_of(*connectors):
    configs = Configs()
    for each in connectors:
        for key, value in created(each):
            configs.apply(key.encode(), value)
    return configs


BIRDS = Connector(name="birds", config={"settle.secs": "3", "plan": "enterprise"}, placement=Placement((2, 3), "birds"))
OWLS = Connector(name="owls", config={"settle.secs": "soon", "plan": "?"}, target=TargetState.STOPPED)


def test_which_connectors_are_meant(tmp_path):
    """The one that is named, else that of the environment, else all; a declared one need not be in the group yet."""
    configs, declared = group_of(BIRDS, OWLS), load(DECLARED, tmp_path).connector

    def names(wanted, declared, configs=configs):
        return [each.name for each in chosen_members(configs, wanted, declared, "flock")]

    assert ["birds", "owls"] == names(None, None)
    assert ["posts"] == names(None, declared) == names("posts", declared) == names(None, declared, Configs())
    assert ["owls"] == names("owls", declared)
    with pytest.raises(Wrong, match="The group flock has no connector emus: it has birds, owls"):
        names("emus", declared)
    with pytest.raises(Wrong, match="The group flock has no connector: set CONNECTOR_GROUP_ID"):
        names(None, None, Configs())


def test_a_stored_configuration_is_read_without_its_secrets():
    """What is wrong there has its default, as with a worker."""
    birds, owls = map(stored_member, (BIRDS, OWLS))

    assert (2, 3000, 0, TargetState.RUNNING) == (birds.tasks, birds.settle_ms, birds.mills_each, birds.state)
    assert (1, 15000, TargetState.STOPPED) == (owls.tasks, owls.settle_ms, owls.state)
    assert owls.mills_each > 0


def table_of(*offsets, partition=None):
    table = OffsetTable()
    for covered_to, posts, gaps in offsets:
        fields = {"covered_from": "2026-11-24T12:00:00.000Z", "covered_to": covered_to, "posts": posts, "gaps": gaps}
        key = encode_key("posts", {"stream": "filtered"} | ({} if partition is None else {"partition": partition}))
        table.apply(key, json.dumps(fields).encode())
    return table


HOLE = {"from": "2026-11-24T12:10:00.000Z", "to": "2026-11-24T12:20:00.000Z", "reason": "budget", "state": "lost"}


def test_how_many_posts_come():
    """In the time that is covered: what is missing is none of it; nothing is told of less than a minute."""
    paces = paces_of(table_of(("2026-11-24T12:30:00.000Z", 240, [HOLE])), "posts")

    assert {None: 240 / 1_200_000} == paces
    assert {"3": 240 / 1_800_000} == paces_of(table_of(("2026-11-24T12:30:00.000Z", 240, []), partition="3"), "posts")
    assert {} == paces_of(table_of(("2026-11-24T12:00:59.000Z", 240, [])), "posts")
    assert {} == paces_of(table_of((None, 0, [])), "posts")


@pytest.mark.parametrize(
    ("mills", "paces", "words"),
    [
        (15, {None: 0.0002}, "may bring 120 posts and cost $1.80; the budget counts it"),
        (0, {None: 0.0002}, "may bring 120 posts, at the price of your contract"),
        (15, {"3": 0.0002}, "What it will cost is not known"),
        (15, {}, "What it will cost is not known"),
    ],
)
def test_what_a_retry_costs(mills, paces, words):
    """By the rate of the gap's own source partition; what nobody knows is said to be so."""
    member = Member(name="posts", tasks=1, settle_ms=0, mills_each=mills)

    assert words in cost_of([HOLE], Seen(member=member, coverage=COVERAGE, paces=paces))
