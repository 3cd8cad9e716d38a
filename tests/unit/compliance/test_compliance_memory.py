"""Which posts are in a topic, and which of them X has withdrawn; and how the next owner learns it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.compliance.memory import OPERATIONS_AT_ONCE, Memory
from connector.records.snowflake import first_id

HOUR_MS = 3_600_000
NOW_MS = int(time.time() * 1000)
POST, OTHER, OLD = (first_id(NOW_MS - ms) for ms in (1_000, 2_000, 30 * HOUR_MS))


@pytest.fixture
def make():
    made = []

    def make_one(**changed):
        made.append(Memory(**{"window_ms": 24 * HOUR_MS, "remember_ms": HOUR_MS} | changed))
        return made[-1]

    yield make_one
    for each in made:
        each.close()


@pytest.fixture
def memory(make):
    return make()


def saw(memory, post, author=1, *, geo=False, offset=0):
    return memory.saw(post, author, geo=geo, partition=0, offset=offset)


def test_a_post_in_the_topic_has_to_go(memory):
    """One that is not there has not, until it comes."""
    assert not saw(memory, POST)
    assert memory.withdraw(POST)
    assert not memory.withdraw(OTHER)
    assert saw(memory, OTHER)


def test_a_post_goes_once(memory):
    """Whose tombstone is about to be written, or in the topic, does not need another."""
    saw(memory, POST)
    saw(memory, OTHER)
    memory.gone(POST)
    memory.saw_tombstone(OTHER, partition=0, offset=1)

    assert not memory.withdraw(POST)
    assert not memory.withdraw(OTHER)


def test_a_post_from_before_the_window_goes_in_any_case(memory):
    """Nothing is known of it, and a tombstone too many changes nothing."""
    assert memory.withdraw(OLD)
    saw(memory, OLD)
    assert 0 == memory.posts


def test_what_was_restored_may_come(memory):
    """As if X had never withdrawn it."""
    memory.withdraw(POST)
    memory.restore(POST)
    memory.withdraw_user(2, NOW_MS)
    memory.restore_user(2)

    assert not saw(memory, POST)
    assert not saw(memory, OTHER, author=2)


def test_the_posts_of_a_user(memory):
    """Those in the topic go, later ones too if they were made before; what the user writes after that stays."""
    for post, author in ((POST, 5), (OTHER, 5), (POST + 1, 6)):
        saw(memory, post, author)

    assert [OTHER, POST] == memory.withdraw_user(5, NOW_MS)
    assert saw(memory, POST + 2, author=5)
    assert not saw(memory, first_id(NOW_MS + 10), author=5)
    assert not saw(memory, POST + 3, author=0)


def test_the_location_of_a_users_posts(memory):
    """Only posts that have one are concerned, up to the one that X names."""
    for post, geo in ((OTHER, True), (POST, True), (POST + 1, False)):
        saw(memory, post, 5, geo=geo)

    assert [OTHER] == memory.withdraw_user(5, NOW_MS, geo=True, up_to=OTHER)
    assert saw(memory, OTHER - 1, author=5, geo=True)
    assert not saw(memory, OTHER - 2, author=5)
    memory.restore_user(5)
    assert saw(memory, OTHER - 3, author=5, geo=True)


def test_what_is_too_old_is_forgotten(make):
    """Posts after the window, and what X has withdrawn after its own time."""
    memory = make(window_ms=1, remember_ms=1)
    memory.withdraw(POST)
    memory.withdraw_user(5, NOW_MS)
    time.sleep(0.005)
    memory.forget()

    assert not saw(memory, POST, author=5)
    assert 0 == memory.posts


def test_the_next_owner_knows_the_same(make):
    """It reads what the last one has written, in its order, and where to read on."""
    first, second = make(), make()
    saw(first, POST, 5, offset=6)
    first.withdraw(OTHER)
    first.withdraw_user(7, NOW_MS)
    first.passed(partition=3, offset=11)
    written = first.take()
    saw(first, POST + 1, 5, offset=7)
    written += first.take()
    for value in written:
        second.load(value)

    assert {0: 8, 3: 12} == second.read_to
    assert [POST, POST + 1] == second.withdraw_user(5, NOW_MS)
    assert saw(second, OTHER, 6)
    assert saw(second, OTHER - 1, 7)


def test_nothing_new_is_nothing_to_write(memory):
    """A take empties; a place in the topic alone is news."""
    assert not memory.has_news
    assert () == memory.take()
    memory.passed(partition=0, offset=0)
    assert memory.has_news
    assert 1 == len(memory.take())
    assert not memory.has_news


def test_records_are_bounded(make):
    """A long list is several records, with the place in the topic in the last one."""
    first, second = make(), make()
    for number in range(OPERATIONS_AT_ONCE + 1):
        saw(first, POST + number, offset=number)
    first_record, last_record = first.take()
    second.load(first_record)
    assert {} == second.read_to
    second.load(last_record)
    assert {0: OPERATIONS_AT_ONCE + 1} == second.read_to
    assert OPERATIONS_AT_ONCE + 1 == second.posts


@given(st.binary(max_size=100))
def test_any_bytes(value):
    """What is none of our records is a `ValueError`, and changes nothing that stays."""
    memory = Memory(window_ms=HOUR_MS, remember_ms=HOUR_MS)
    try:
        with pytest.raises(ValueError, match=r"."):
            memory.load(value)
    finally:
        memory.close()


def test_posts_are_due_once_at_an_age(make):
    """The oldest first; not those that are gone, and not again if they come to the topic again."""
    memory = make(rechecks=True)
    posts = [first_id(NOW_MS - ago) for ago in (5 * HOUR_MS, 3 * HOUR_MS, 2 * HOUR_MS, 1_000)]
    for post in reversed(posts):
        saw(memory, post)

    assert posts[:3] == memory.due(HOUR_MS, 10)
    assert posts[:2] == memory.due(HOUR_MS, 2)
    memory.checked(posts[0])
    memory.gone(posts[1])
    saw(memory, posts[0], author=7)
    assert [posts[2]] == memory.due(HOUR_MS, 10)
    assert posts[2:] == memory.due(0, 10)
    assert [posts[0]] == memory.withdraw_user(7, NOW_MS)


def test_the_next_owner_knows_what_was_asked(make):
    """Also that a post which came later than others was not."""
    first, second = make(rechecks=True), make(rechecks=True)
    early, late = first_id(NOW_MS - 5 * HOUR_MS), first_id(NOW_MS - 6 * HOUR_MS)
    saw(first, early)
    first.checked(early)
    saw(first, late)
    for value in first.take():
        second.load(value)

    assert [late] == second.due(HOUR_MS, 10)
