import pytest

from connector.history.records import RULES_MAX, Counts
from connector.history.tally import BOUNDS_SECS, DelayCounts, Tally


@pytest.mark.parametrize(
    ("delays", "middle", "high"),
    [
        ([], 0, 0),
        ([(0.5, 1)], 500, 500),
        ([(0.01, 98), (3.0, 2)], 10, 3000),  # two of a hundred are slow: the 99th percentile is
        ([(0.01, 990), (3.0, 10)], 10, 10),
        ([(10**9, 5)], 14_400_000, 14_400_000),  # nobody waits for years: the last bound stands for it
    ],
)
def test_percentiles(delays, middle, high):
    """The median and the 99th percentile are right, or too high by less than a tenth."""
    counts = DelayCounts()
    for secs, posts in delays:
        counts.add(secs, posts)

    found = counts.percentiles()

    assert middle <= found[0] <= 1.1 * middle + 1
    assert high <= found[1] <= 1.1 * high + 1


def test_bounds_rise_by_a_tenth():
    """Delays from a millisecond to hours have their place, in a bounded number of bounds."""
    assert (0.001, True) == (BOUNDS_SECS[0], BOUNDS_SECS[-1] >= 4 * 3600)
    assert len(BOUNDS_SECS) < 200


def test_counts_of_a_minute():
    """Batches, drops, letters and rules add up; posts of a batch that nobody timed were found by a repair."""
    tally = Tally()
    tally.add_delivered(10, ((0.02, 1.0, 6), (0.03, 2.0, 2)), 0.05)
    tally.add_delivered(5, ((0.02, 1.0, 5),), 0.025)
    tally.add_dropped("duplicate", 3)
    tally.add_dropped("duplicate", 1)
    tally.add_letter("BadRecord")
    tally.add_matched([(("birds",), 7), (("birds", "flocks"), 2), ((), 4)])

    counts = tally.done()

    assert (15, 2, 13, 75) == (counts.delivered, counts.repaired, counts.timed, counts.mills)
    assert ({"duplicate": 4}, {"BadRecord": 1}) == (counts.dropped, counts.letters)
    assert {"birds": (9, 7), "flocks": (2, 0)} == counts.rules
    assert counts.age[0] in range(1000, 1101)
    assert counts.delivery[1] in range(30, 34)


def test_rules_are_bounded():
    """Of too many rules, those with the most posts are in the record."""
    tally = Tally()
    tally.add_matched(((f"rule {number}",), number + 1) for number in range(RULES_MAX + 10))

    rules = tally.done().rules

    assert RULES_MAX == len(rules)
    assert "rule 9" not in rules
    assert (RULES_MAX + 10, RULES_MAX + 10) == rules[f"rule {RULES_MAX + 9}"]


def test_nothing_is_shared():
    """A minute's counts are not those of the next one."""
    Tally().add_dropped("duplicate", 1)

    assert Counts() == Tally().done()
