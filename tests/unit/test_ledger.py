from hypothesis import given
from hypothesis import strategies as st

from connector import ledger as module
from connector.ledger import GENERATION_IDS, GENERATION_SECS, Ledger


def test_remembers_what_it_was_told():
    """An id that was added is known, another is not."""
    ledger = Ledger()
    ledger.add(7)

    assert 7 in ledger
    assert 8 not in ledger
    assert 1 == len(ledger)


def test_id_lasts_a_generation_at_least_and_two_at_most():
    """The ids of the last 5 minutes are known; what is 10 minutes old is forgotten."""
    ledger = Ledger()
    ledger.forget(0.0)
    ledger.add(7)
    ledger.forget(GENERATION_SECS - 1)
    ledger.add(8)
    ledger.forget(GENERATION_SECS)
    assert 7 in ledger
    ledger.forget(2 * GENERATION_SECS - 1)
    assert 8 in ledger
    ledger.forget(2 * GENERATION_SECS)

    assert 7 not in ledger
    assert 8 not in ledger


def test_last_generations_are_known_however_many_come(monkeypatch):
    """In a storm as many ids are known as a generation holds, and memory stays bounded."""
    monkeypatch.setattr(module, "GENERATION_IDS", 100)
    ledger = Ledger()
    for number in range(1_000):
        ledger.add(number)
        ledger.forget(0.0)
        assert len(ledger) <= 200

    assert all(number in ledger for number in range(900, 1_000))
    assert 131_072 == GENERATION_IDS


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 200)), max_size=60))
def test_nothing_younger_than_a_generation_is_forgotten(story):
    """Whatever comes when, an id added less than 5 minutes ago is known."""
    ledger, now, added = Ledger(), 0.0, {}
    for post_id, pause in story:
        now += pause
        ledger.forget(now)
        assert all(each in ledger for each, at in added.items() if now - at < GENERATION_SECS)
        ledger.add(post_id)
        added[post_id] = now
