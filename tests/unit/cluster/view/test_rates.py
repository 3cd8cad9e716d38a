from connector.cluster.view.rates import WINDOW_SECS, Rates


def test_rate():
    """Posts a second since the oldest look that is remembered, once that is long enough ago."""
    rates = Rates()

    assert [None, None, 10.0] == [
        rates.note("posts", posts, now) for posts, now in ((100, 0.0), (110, 1.0), (200, 10.0))
    ]


def test_it_forgets():
    """What was longer ago than the window does not count; after a long time without a look it begins anew."""
    rates = Rates()
    for second in range(61):
        rates.note("posts", 1000 if second >= 30 else 0, float(second))

    assert 0.0 == rates.note("posts", 1000, 61.0)
    later = 61.0 + 3 * WINDOW_SECS
    assert [None, 2.0] == [rates.note("posts", posts, now) for posts, now in ((2000, later), (2020, later + 10))]


def test_an_offset_that_was_set_back():
    """A total that falls begins anew: there are no negative rates."""
    rates = Rates()
    rates.note("posts", 1000, 0.0)

    assert [None, 2.0] == [rates.note("posts", posts, now) for posts, now in ((10, 10.0), (30, 20.0))]


def test_memory():
    """Few looks are remembered, however often somebody looks, and no connector that is gone."""
    rates = Rates()
    for number in range(10_000):
        rates.note("posts", number, number / 100)
    assert len(rates._seen["posts"]) <= 2 * WINDOW_SECS + 2
    rates.keep({"birds"})

    assert {} == rates._seen
