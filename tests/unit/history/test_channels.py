import pytest

from connector.history import channels as module
from connector.history.channels import DAY_SECS, HIGHEST, MAIN, RULES, Channels

NOON = 1_796_040_000 // 86_400 * 86_400 + 43_200


def filled(minutes, **facts):
    channels = Channels()
    for number in range(minutes):
        channels.add("posts", "delivered", NOON + 60 * number, number + 1, **facts)
    return channels


def test_minutes_come_back():
    """Each minute of the last day has its own value."""
    channels = filled(5)

    assert [0, 1, 2, 3, 4, 5, 0] == channels.column("posts", "delivered", NOON - 60, 60, 7, NOON + 300)


@pytest.mark.parametrize(("facts", "expected"), [({}, [3, 7, 5]), ({"kind": HIGHEST}, [2, 4, 5])])
def test_longer_points(facts, expected):
    """A longer point has the sum of its minutes, or the highest of them."""
    assert expected == filled(5, **facts).column("posts", "delivered", NOON, 120, 3, NOON + 300)


def test_ten_minutes_last_for_a_week():
    """What is older than a day is known in points of ten minutes, of the same sum."""
    channels = filled(30)
    channels.add("posts", "delivered", NOON + 6 * DAY_SECS, 1)

    later = NOON + 6 * DAY_SECS

    assert [55, 155, 255, 0] == channels.column("posts", "delivered", NOON, 600, 4, later)
    assert 465 == channels.total("posts", "delivered", NOON, NOON + 1800, later)


def test_ten_minutes_alone():
    """A sum of ten minutes has no minutes."""
    channels = Channels()
    channels.add("posts", "delivered", NOON, 7, least_step_secs=600)

    assert [7] == channels.column("posts", "delivered", NOON, 600, 1, NOON + 2 * DAY_SECS)
    assert [0] == channels.column("posts", "delivered", NOON, 600, 1, NOON + 600)


@pytest.mark.parametrize("tiers", [MAIN, RULES])
def test_memory_is_bounded(tiers):
    """Whatever the time, a channel keeps no more points than its tiers say, and one block."""
    channels = Channels()
    for hour in range(24 * 30):
        channels.add("posts", "delivered", NOON + 3600 * hour, 1, tiers=tiers)

    (channel,) = channels._channels["posts"].values()

    for tier, blocks in zip(tiers, channel.blocks, strict=True):
        assert len(blocks) <= tier.keep_secs // (tier.step_secs * tier.points) + 2


def test_channels_are_bounded(monkeypatch):
    """What needs a channel too many is left out and counted; what is not heard of any more makes room."""
    monkeypatch.setattr(module, "CHANNELS_MAX", 2)
    channels = Channels()
    for number in range(4):
        channels.add("posts", f"posts/{number}", NOON, 1)

    assert (2, ["0", "1"]) == (channels.left_out, channels.names_of("posts", "posts/"))

    channels.forget_before(NOON + 10 * DAY_SECS)
    channels.add("birds", "delivered", NOON + 10 * DAY_SECS, 1)

    assert ["birds"] == channels.owners()


def test_large_values_stay():
    """A value that is too large for its place is the largest that fits, and no error."""
    channels = Channels()
    channels.add("posts", "delivered", NOON, 2**40)
    channels.add("posts", "delivered", NOON, 5)

    assert [2**32 - 1] == channels.column("posts", "delivered", NOON, 60, 1, NOON)


def test_unknown():
    """What was never counted is zero."""
    assert ([0, 0], 0, []) == (
        Channels().column("posts", "delivered", NOON, 60, 2, NOON),
        Channels().total("posts", "delivered", NOON, NOON + 60, NOON),
        Channels().names_of("posts"),
    )


def test_what_nobody_asks_for_is_not_kept():
    """A worker that reads a day of minutes puts two hours of them into the tier that holds two hours."""
    whole, late = Channels(), Channels(NOON)
    for minute in range(-1500, 1):
        for channels in (whole, late):
            channels.add("posts", "rule", NOON + 60 * minute, 1, tiers=RULES)

    (channel,) = late._channels["posts"].values()
    assert 120 <= sum(map(sum, channel.blocks[0].values())) <= 181
    for hours in (1, 2, 3, 24):
        asked = ("posts", "rule", NOON - 3600 * hours, NOON + 60, NOON)
        assert whole.total(*asked) == late.total(*asked) == 60 * hours + 1


def test_many_values_at_once_are_the_same():
    """Sums, the highest, and what is too large, as one by one."""
    one, all_ = Channels(), Channels()
    for number in range(90):
        values = [("delivered", number), ("p99", 90 - number), ("none", 0), ("large", 2**31)]
        for name, value in values:
            one.add("posts", name, NOON + 60 * number, value, kind=HIGHEST if name == "p99" else module.SUM)
        all_.add_all("posts", values, NOON + 60 * number, kinds={"p99": HIGHEST})

    assert {"delivered", "p99", "large"} == set(all_.names_of("posts"))
    for name in all_.names_of("posts"):
        asked = ("posts", name, NOON, 600, 9, NOON + 6 * DAY_SECS)
        assert one.column(*asked) == all_.column(*asked)
