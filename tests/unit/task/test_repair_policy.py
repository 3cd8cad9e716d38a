import pytest

from connector.coverage.offset import Gap, Way
from connector.task.repair.policy import (
    EDGE_MS,
    FRESH_MS,
    HOUR_MS,
    MINUTE_MS,
    Lost,
    Policy,
    Repair,
    Split,
    Wait,
    backfill_minutes,
    step_for,
)

NOW_MS = 1_795_521_600_000
DAY_MS = 24 * HOUR_MS
OLDEST_MS = 7 * DAY_MS - EDGE_MS
"""So old a gap may be for search."""

REPLAYED_MS = DAY_MS - EDGE_MS
"""So old it may be for a replay."""

TOO_OLD = Lost(reason="older than the 7 days that X's search reaches back")
ALL = frozenset(Way)
SEARCH, RECOVERY = Repair(way=Way.SEARCH), Repair(way=Way.RECOVERY)
WAITS = "until X has all of it"


def policy(*ways, refused=(), minutes=5):
    return Policy(
        ways=frozenset(ways),
        none_because="recovery=backfill goes no other way",
        backfill_max_minutes=minutes,
        refused=dict(refused),
    )


def gap(from_ago_ms, to_ago_ms):
    return Gap(from_ms=NOW_MS - from_ago_ms, to_ms=NOW_MS - to_ago_ms, reason="connection_lost")


TABLE = [
    # pay per use: search, up to 7 days
    ([Way.SEARCH], 5 * MINUTE_MS, 4 * MINUTE_MS, SEARCH),
    ([Way.SEARCH], 2 * DAY_MS, DAY_MS, SEARCH),
    ([Way.SEARCH], OLDEST_MS, DAY_MS, SEARCH),
    # enterprise: a replay up to 24 h, beyond it search
    ([Way.RECOVERY, Way.SEARCH], 5 * MINUTE_MS, 4 * MINUTE_MS, RECOVERY),
    ([Way.RECOVERY, Way.SEARCH], REPLAYED_MS - 1, HOUR_MS, RECOVERY),
    ([Way.RECOVERY, Way.SEARCH], REPLAYED_MS, HOUR_MS, SEARCH),
    # a stream without rules knows no search
    ([Way.RECOVERY], REPLAYED_MS - 1, HOUR_MS, RECOVERY),
    # what a reconnect has not filled goes the other ways
    (ALL, 5 * MINUTE_MS, 4 * MINUTE_MS, RECOVERY),
    # too old: the whole of it, or its begin
    ([Way.SEARCH], 8 * DAY_MS, OLDEST_MS, TOO_OLD),
    (ALL, 8 * DAY_MS, 8 * DAY_MS - 1, TOO_OLD),
    ([Way.SEARCH], 8 * DAY_MS, OLDEST_MS - 1, Split(at_ms=NOW_MS - OLDEST_MS)),
    # the rest of a split stays whole for a while
    ([Way.SEARCH], OLDEST_MS + EDGE_MS // 2, HOUR_MS, SEARCH),
    ([Way.SEARCH], OLDEST_MS + EDGE_MS // 2 + 1, HOUR_MS, Split(at_ms=NOW_MS - OLDEST_MS)),
    (ALL, 8 * DAY_MS, HOUR_MS, Split(at_ms=NOW_MS - OLDEST_MS)),
    # recovery=none: it is written down, and nothing more; but what nobody can have any more is lost
    ([], HOUR_MS, MINUTE_MS, None),
    ([], 8 * DAY_MS, HOUR_MS, None),
    ([], 8 * DAY_MS, OLDEST_MS, TOO_OLD),
    # not all of it is to be had yet: by replay or by search
    ([Way.SEARCH], HOUR_MS, 0, Wait(secs=33.0, reason=WAITS)),
    ([Way.RECOVERY], HOUR_MS, FRESH_MS - 1, Wait(secs=0.001, reason=WAITS)),
    ([Way.SEARCH], HOUR_MS, FRESH_MS, SEARCH),
    # its end, by a clock that was ahead, is still to come
    ([Way.SEARCH], HOUR_MS, -1_000, Wait(secs=34.0, reason=WAITS)),
]


@pytest.mark.parametrize(("ways", "from_ago_ms", "to_ago_ms", "step"), TABLE)
def test_table(ways, from_ago_ms, to_ago_ms, step):
    """The gap's age and what the plan has decide; at the borders to the millisecond."""
    assert step == step_for(gap(from_ago_ms, to_ago_ms), NOW_MS, policy(*ways))


REFUSALS = [
    # the other way is left
    ([Way.RECOVERY, Way.SEARCH], {Way.RECOVERY: "403"}, HOUR_MS, SEARCH),
    ([Way.RECOVERY, Way.SEARCH], {Way.SEARCH: "403"}, HOUR_MS, RECOVERY),
    # that of the reconnect says nothing about the others
    (ALL, {Way.BACKFILL: "no backfill"}, HOUR_MS, RECOVERY),
    # none is left: X's words are the reason, each once
    ([Way.SEARCH], {Way.SEARCH: "403: no access"}, HOUR_MS, Lost(reason="403: no access")),
    (ALL, {Way.RECOVERY: "403", Way.SEARCH: "403", Way.BACKFILL: "400"}, HOUR_MS, Lost(reason="403")),
    (
        [Way.RECOVERY, Way.SEARCH],
        {Way.SEARCH: "no access"},
        25 * HOUR_MS,
        Lost(reason="no access; older than the 24 hours that X replays"),
    ),
    # a way that the configuration or the plan does not have
    ([Way.BACKFILL], {}, HOUR_MS, Lost(reason="recovery=backfill goes no other way")),
    (
        [Way.RECOVERY],
        {},
        25 * HOUR_MS,
        Lost(reason="older than the 24 hours that X replays; recovery=backfill goes no other way"),
    ),
    (
        [Way.RECOVERY],
        {Way.RECOVERY: "no second connection"},
        HOUR_MS,
        Lost(reason="no second connection; recovery=backfill goes no other way"),
    ),
]


@pytest.mark.parametrize(("ways", "refused", "from_ago_ms", "step"), REFUSALS)
def test_what_x_refuses_is_left_out(ways, refused, from_ago_ms, step):
    """A gap for which no way is left is lost, and says why."""
    assert step == step_for(gap(from_ago_ms, MINUTE_MS), NOW_MS, policy(*ways, refused=refused))


def test_halves_of_a_split_are_lost_and_repaired():
    """What is too old is given up alone."""
    old = gap(8 * DAY_MS, HOUR_MS)
    at_ms = step_for(old, NOW_MS, policy(Way.SEARCH)).at_ms
    below, above = gap(8 * DAY_MS, NOW_MS - at_ms), gap(NOW_MS - at_ms, HOUR_MS)

    assert TOO_OLD == step_for(below, NOW_MS, policy(Way.SEARCH))
    assert SEARCH == step_for(above, NOW_MS, policy(Way.SEARCH))


MINUTES = [
    # rounded up, after some seconds for the connect
    (0, 1),
    (1, 1),
    (55_000, 1),
    (55_001, 2),
    (60_000, 2),
    (295_000, 5),
    # longer than X repeats
    (295_001, None),
    (HOUR_MS, None),
    # by a clock that goes wrong
    (-4_999, 1),
    (-5_000, None),
    (-HOUR_MS, None),
]


@pytest.mark.parametrize(("missing_ms", "minutes"), MINUTES)
def test_backfill_minutes(missing_ms, minutes):
    """All that is missing, in whole minutes, or not at all."""
    assert minutes == backfill_minutes(NOW_MS - missing_ms, NOW_MS, policy(Way.BACKFILL))


NO_BACKFILL = [
    policy(Way.SEARCH, Way.RECOVERY),
    policy(),
    policy(Way.BACKFILL, refused={Way.BACKFILL: "400"}),
    policy(Way.BACKFILL, minutes=0),
]


@pytest.mark.parametrize("without", NO_BACKFILL)
def test_no_backfill(without):
    """Where the configuration, the plan or X is against it."""
    assert backfill_minutes(NOW_MS - MINUTE_MS, NOW_MS, without) is None


def test_stream_may_have_a_smaller_backfill():
    """As much as the stream repeats."""
    assert 2 == backfill_minutes(NOW_MS - MINUTE_MS, NOW_MS, policy(Way.BACKFILL, minutes=2))
    assert backfill_minutes(NOW_MS - 2 * MINUTE_MS, NOW_MS, policy(Way.BACKFILL, minutes=2)) is None
