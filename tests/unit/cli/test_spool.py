import errno
import json
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.cli.audit.comparison import TopicTally
from connector.cli.audit.spool import MinuteSpool
from connector.errors import ConnectorError
from connector.records.snowflake import created_ms, first_id

NOON = 1_793_534_400_000
MINUTE = 60_000

# few ids in few minutes, so that many come twice, in any order
ids = st.integers(0, 5 * MINUTE // 1000).flatmap(
    lambda second: st.integers(0, 3).map(lambda n: first_id(NOON + 1000 * second) + n)
)


@pytest.mark.slow
@given(st.lists(st.tuples(ids, st.integers(0, 4))), st.integers(1, 4), st.sampled_from([1, 100, 1_000_000]))
def test_each_id_is_there_once_as_it_came_first(added, block_ids, memory_bytes):
    """Whether a block fits into memory or lies in the file, minute by minute, oldest first."""
    expected = {}
    for post_id, kind in added:
        expected.setdefault(post_id, kind)

    with MinuteSpool(block_ids=block_ids, memory_bytes=memory_bytes) as spool:
        for post_id, kind in added:
            spool.add(post_id, kind)
        minutes = list(spool.minutes())
        again = list(spool.minutes())

    assert expected == {post_id: kind for _, first in minutes for post_id, kind in first.items()}
    assert all(at <= created_ms(post_id) < at + MINUTE for at, first in minutes for post_id in first)
    assert sorted(at for at, _ in minutes) == [at for at, _ in minutes]
    assert minutes == again


def record(post_id, rules):
    data = {"id": str(post_id), "text": "a post"}
    return b"%d" % post_id, json.dumps({"data": data, "matching_rules": [{"id": rule} for rule in rules]}).encode()


@pytest.mark.slow
@given(st.lists(st.tuples(ids, st.sets(st.sampled_from("1239"))), max_size=60))
def test_a_tally_counts_as_a_set_of_all_ids_would(posts):
    """The same numbers as by remembering every id; the first record of a post counts."""
    queries = [(NOON, ["1", "2"]), (NOON + MINUTE, ["3"])]
    expected, seen = [Counter(), Counter()], set()
    with TopicTally(queries, NOON + 5 * MINUTE, has_references=False) as tally:
        for post_id, rules in posts:
            tally.add(*record(post_id, rules))
            made_ms = created_ms(post_id)
            if post_id in seen or not NOON <= made_ms < NOON + 5 * MINUTE:
                continue
            seen.add(post_id)
            for number, (from_ms, of_query) in enumerate(queries):
                if from_ms <= made_ms and rules & set(of_query):
                    expected[number][made_ms - made_ms % MINUTE] += 1

        assert expected == tally.found


@pytest.mark.slow
def test_memory_is_bounded_by_minutes_and_not_by_ids():
    """Ten times the ids in the same minutes take ten times the file, and no more memory but for one minute."""
    peaks = []
    for each in (300, 3_000):
        tracemalloc.start()
        with MinuteSpool(block_ids=32, memory_bytes=50_000) as spool:
            for n in range(each):
                for minute in range(20):
                    spool.add(first_id(NOON + minute * MINUTE) + n, 1)
            found = sum(len(first) for _, first in spool.minutes())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert each * 20 == found

    one_minute = 3_000 * 200
    assert peaks[1] < peaks[0] + one_minute
    assert peaks[1] < 60_000 * 12  # less than the ids themselves in the file; a set of them takes 5 MB


def test_a_full_disk_is_told_with_the_cure(monkeypatch):
    """It is no fault of Kafka's."""

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with MinuteSpool(block_ids=1) as spool:
        spool.add(first_id(NOON), 0)
        monkeypatch.setattr(spool._file, "write", full)
        with pytest.raises(ConnectorError, match=r"No space left.*TMPDIR"):
            spool.add(first_id(NOON), 0)
