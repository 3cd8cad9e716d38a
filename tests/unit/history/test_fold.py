import pytest

from connector.history import fold as module
from connector.history.fold import OTHERS_GRACE_SECS, OWN_GRACE_SECS, WINDOW, History
from connector.history.ranges import RANGES
from connector.history.records import Counts, Minute, TenMinutes, Told

NOW = 1_796_040_000
COUNTS = Counts(
    received=12, delivered=10, mills=50, dropped={"duplicate": 2}, timed=10, age=(1000, 4000), delivery=(20, 30),
    rules={"birds": (8, 5), "flocks": (3, 0)},
)  # fmt: skip


def minute(number, *, process="p", ago=1, connector="posts", counts=COUNTS, **facts):
    at = NOW - 60 * ago
    return Minute(process=process, number=number, at=at, worker=f"{process}:1", connectors={connector: counts}, **facts)


def told(number, kind="gap.opened", *, process="p", at=NOW * 1000):
    return Told(process=process, number=number, at=at, kind=kind, level="info", worker=f"{process}:1")


def folded(*records, now=NOW):
    history = History(now)
    for offset, record in enumerate(records):
        history.apply(record, offset)
    return history


def shown(history, name="1h", connector=None):
    """All that is shown of the counts."""
    span = RANGES[name]
    owners = ["posts", "birds"]
    return (
        history.series(span, NOW, connector),
        {owner: (history.totals(span, NOW, owner), history.rules(span, NOW, owner)) for owner in owners},
    )


def test_series():
    """A minute has its counts, in seconds and dollars; one of which nobody wrote is not known."""
    columns = folded(minute(0, ago=2), minute(1, ago=4)).series(RANGES["15m"], NOW)

    assert NOW == columns["t"][-1] + 60
    assert [12, None, 12, None] == columns["received"][-4:]
    assert [10, None, 10, None] == columns["delivered"][-4:]
    assert [2, None, 2, None] == columns["dropped"][-4:]
    assert [0.05, None] == columns["usd"][-2:]
    assert ([1.0, None], [4.0, None]) == (columns["age_p50"][-2:], columns["age_p99"][-2:])
    assert ([0.02, None], [0.03, None]) == (columns["delivery_p50"][-2:], columns["delivery_p99"][-2:])


def test_a_minute_without_posts():
    """It is known that there were none; of delays nothing is known."""
    columns = folded(minute(0, counts=Counts())).series(RANGES["15m"], NOW)

    assert (0, 0.0, None, None) == tuple(columns[name][-1] for name in ("received", "usd", "age_p50", "delivery_p99"))


def test_connectors_and_workers_add_up():
    """What several workers and connectors had in a minute comes together; one connector can be looked at alone."""
    history = folded(minute(0), minute(0, process="q"), minute(1, process="q", connector="birds"))

    assert (36, 24, 12) == (
        history.series(RANGES["15m"], NOW)["received"][-1],
        history.series(RANGES["15m"], NOW, "posts")["received"][-1],
        history.series(RANGES["15m"], NOW, "birds")["received"][-1],
    )


def test_totals_and_rules():
    """Sums, by reason, and the posts of each rule, those that came by it alone among them."""
    history = folded(minute(0, ago=3), minute(1, ago=2))
    totals = history.totals(RANGES["1h"], NOW, "posts")

    assert (24, 20, 0.1, {"duplicate": 4}, {}) == (
        totals["received"], totals["delivered"], totals["usd"], totals["dropped"], totals["dead_letters"],
    )  # fmt: skip
    assert [10, 10, 0] == totals["spark"][-3:]
    assert {"birds": (16, 10), "flocks": (6, 0)} == history.rules(RANGES["1h"], NOW, "posts")


@pytest.mark.parametrize("name", RANGES)
def test_points_are_bounded(name):
    """No range has more than 400 points, all its columns have as many, and so have the small curves at most 60."""
    columns, totals = shown(folded(minute(0)), name)

    assert {len(columns["t"])} == {len(column) for column in columns.values()}
    assert len(columns["t"]) <= 400
    assert len(totals["posts"][0]["spark"]) <= 60
    assert columns["t"][-1] + RANGES[name].step_secs >= NOW


def test_a_record_counts_once():
    """Kafka may have a record twice, and a late copy: what was applied is not applied again."""
    records = [minute(number, ago=20 - number) for number in range(10)]

    assert shown(folded(*records)) == shown(folded(*records, records[9], *records[:5]))
    assert 1 == len(folded(told(0), told(0)).events(0, 10))


def test_late_records_count():
    """A record that was overtaken by later ones counts, too, unless it is hopelessly late."""
    history = folded(told(5), told(4), told(5 + WINDOW), told(3))

    assert [5 + WINDOW, 4, 5] == [each.number for _, each in history.events(0, 10)]


def test_order_does_not_matter():
    """Partitions are read side by side, so a restarted worker applies records in another order."""
    records = [minute(number, process=process, ago=30 - number) for number in range(20) for process in "pq"]

    assert shown(folded(*records)) == shown(folded(*sorted(records, key=lambda each: each.process)))


def _tens(history, process="p", later=OTHERS_GRACE_SECS + 600):
    return history.tens_due(process, NOW + later)


@pytest.mark.parametrize("name", ["7d", "24h"])
def test_a_restart_shows_the_same(name):
    """Whoever reads ten minutes in place of minutes shows the same of what is long ago."""
    ago = 26 * 60
    minutes = [minute(number, process=process, ago=ago - number) for number in range(25) for process in "pq"]
    old = folded(*minutes, now=NOW - 86_400)
    new = folded(*_tens(old), *minutes[-2:])  # the minutes lie before what it reads

    assert shown(old, name) == shown(new, name)
    assert name == "24h" or 12 * 50 == sum(value or 0 for value in shown(new, name)[0]["received"])


def test_ten_minutes_count_once():
    """Several workers may write down the same; and what came as minutes does not come again."""
    minutes = [minute(number, ago=30 - number) for number in range(20)]
    history = folded(*minutes)
    before, tens = shown(history, "7d"), _tens(history)
    for offset, ten in enumerate([*tens, *tens]):
        history.apply(ten, offset)

    assert (before, []) == (shown(history, "7d"), _tens(history))
    assert 20 == sum(ten.minutes for ten in tens)
    first = TenMinutes(process="p", at=NOW - 5 * 86_400, minutes=10, connectors={"posts": COUNTS})
    assert shown(folded(first), "7d") == shown(folded(first, first), "7d")


def test_who_writes_ten_minutes_down():
    """A worker writes its own soon, and those of a dead one after a while."""
    history = folded(minute(0, process="p", ago=10), minute(0, process="q", ago=10))

    assert [] == history.tens_due("p", NOW)
    assert {"p"} == {ten.process for ten in history.tens_due("p", NOW + OWN_GRACE_SECS)}
    assert {"p", "q"} == {ten.process for ten in history.tens_due("p", NOW + OTHERS_GRACE_SECS)}


def test_events():
    """The newest come first, from a time on, above an id, and not too many."""
    history = folded(*(told(number, at=number * 1000) for number in range(10)))

    assert [9, 8, 7] == [offset for offset, _ in history.events(0, 3)]
    assert [9, 8] == [offset for offset, _ in history.events(8000, 10)]
    assert [9] == [offset for offset, _ in history.events(0, 10, after=8)]
    assert (9, 0) == (history.newest_event, history.oldest_event)


def test_lives():
    """A minute is a sign of life with its facts; a goodbye is remembered."""
    history = folded(
        minute(0, started=5, version="1.0", cpu_ms=600, memory_bytes=7, tasks=("posts-0",)), told(0, "worker.stopping")
    )
    life = history.lives["p"]

    assert ("p:1", 5, "1.0", ("posts-0",), 0.01, 7) == (
        life.worker, life.started, life.version, life.tasks, life.cpu_share, life.memory_bytes,
    )  # fmt: skip
    assert (NOW * 1000, NOW * 1000) == (life.heard, life.goodbye)


def test_losses_are_known():
    """What a worker could not write is said."""
    history = folded(minute(0, lost=1), minute(1, ago=2, lost=3, left_out=2), minute(0, process="q", lost=1))

    assert (4, 2) == (history.lost_minutes, history.left_out_events)


def test_memory_is_bounded(monkeypatch):
    """Runs of workers and events are forgotten, those of longest ago first."""
    monkeypatch.setattr(module, "PROCESSES_MAX", 3)
    history = folded(*(told(0, process=str(number)) for number in range(10)))

    assert ["7", "8", "9"] == list(history.lives)
    assert 5_000 == len(folded(*(told(number) for number in range(5_100))).events(0, 9_999))


def test_the_topic_was_deleted():
    """Then nothing of the past is known any more, and records begin anew."""
    history = folded(minute(0), told(0))
    history.clear()

    assert ([], {}, -1) == (history.events(0, 10), history.lives, history.newest_event)
    assert {None} == set(history.series(RANGES["1h"], NOW)["received"])
    history.apply(minute(0), 0)
    assert 12 in history.series(RANGES["1h"], NOW)["received"]
